"""A recursive network: one composition cell, applied to neighbours until one node is left."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.text.families.neural import Recursive
from exporter.text.families.training import Reading
from exporter.text.networks.classifier import Encoder
from exporter.text.networks.masked import PAD, mask_of, max_of
from exporter.text.networks.member import train_reader

_PHRASE = 2
"""Levels of the phrases that are pooled beside the root: four tokens."""


class RecursiveEncoder(Encoder):
    """A balanced binary tree over the tokens, filled up to the next power of two of the longest text.

    The cell is a binary tree-LSTM (Tai et al. 2015). Where the right child holds no token, the left one goes up as
    it is, so the tree of a text depends on its own length alone. The levels are unrolled: `depth` of them, and
    no more than 2^depth tokens can be read, `depth` being at least 2. Features are the root, and the maximum over
    the phrases of four tokens.
    """

    def __init__(self, vocabulary: int, size: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.width = 2 * size
        self.depth = depth
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.leaf = nn.Linear(size, 2 * size)
        self.cell = nn.Linear(2 * size, 5 * size)
        with torch.no_grad():  # remember by default (Jozefowicz et al. 2015)
            self.cell.bias[size : 3 * size] += 1.0

    def forward(self, ids: Tensor) -> Tensor:
        ids = self._filled(ids)
        mask = mask_of(ids)
        memory, gate = self.leaf(self.dropout(self.embedding(ids))).chunk(2, dim=2)
        state = torch.sigmoid(gate) * torch.tanh(memory)
        for level in range(self._levels(ids)):
            state, memory, mask = self._composed(state, memory, mask)
            if level + 1 == _PHRASE:
                phrases = max_of(state, mask)
        return torch.cat([state[:, 0] * mask, phrases], dim=1)

    def _filled(self, ids: Tensor) -> Tensor:
        """[m, 2^levels]: padding behind; when training only as much as the batch needs."""
        leaves = 1 << (self._needed(ids.shape[1]) if self.training else self.depth)
        return torch.cat([ids, ids.new_zeros(ids.shape[0], leaves)], dim=1)[:, :leaves]

    def _levels(self, filled: Tensor) -> int:
        return self._needed(filled.shape[1]) if self.training else self.depth

    def _needed(self, length: int) -> int:
        return max(_PHRASE, min(self.depth, (length - 1).bit_length()))

    def _composed(self, state: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One level up: half as many nodes, each with state, memory and whether it holds a token."""
        left, right = state[:, 0::2], state[:, 1::2]
        left_memory, right_memory = memory[:, 0::2], memory[:, 1::2]
        left_mask, right_mask = mask[:, 0::2], mask[:, 1::2]
        gates = self.cell(torch.cat([left, right], dim=2))
        into, keep_left, keep_right, out, new = gates.chunk(5, dim=2)
        joined = torch.sigmoid(into) * torch.tanh(new)
        joined = joined + torch.sigmoid(keep_left) * left_memory + torch.sigmoid(keep_right) * right_memory
        both = right_mask[:, :, None] > 0  # tokens come first: a right child holds one only if the left does
        return (
            torch.where(both, torch.sigmoid(out) * torch.tanh(joined), left),
            torch.where(both, joined, left_memory),
            left_mask,
        )


def train_recursive(spec: Recursive, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError."""

    def build(reading: Reading) -> Encoder:
        depth = max(2, (reading.max_tokens - 1).bit_length())
        return RecursiveEncoder(reading.vocabulary, spec.size, depth, spec.dropout)

    return train_reader(spec, build, rows, setting)
