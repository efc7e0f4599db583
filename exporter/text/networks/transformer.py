"""Transformers in plain torch: an encoder that sees all tokens (BERT) and one that sees those before (GPT)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting, Trained
from exporter.text.families.neural import Bert, Gpt
from exporter.text.families.training import Reading
from exporter.text.networks.classifier import Encoder
from exporter.text.networks.masked import PAD, last_of, lengths_of, mask_of, mean_of
from exporter.text.networks.member import train_reader

_FAR = -1e4


class Block(nn.Module):
    """Attention and a perceptron, each on normalised states and added to them."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(size)
        self.projections = nn.Linear(size, 3 * size)
        self.joined = nn.Linear(size, size)
        self.before_perceptron = nn.LayerNorm(size)
        self.perceptron = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        """States [m, L, D]; `bias` [m or 1, 1, 1 or L, L] is added to the scores."""
        states = states + self.dropout(self._attended(self.before_attention(states), bias))
        added: Tensor = states + self.dropout(self.perceptron(self.before_perceptron(states)))
        return added

    def _attended(self, states: Tensor, bias: Tensor) -> Tensor:
        m, length, size = states.shape
        split = self.projections(states).reshape(m, length, 3, self.heads, size // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3) / math.sqrt(size // self.heads) + bias
        mixed = torch.softmax(scores, dim=3) @ value
        joined: Tensor = self.joined(mixed.transpose(1, 2).reshape(m, length, size))
        return joined


class TransformerEncoder(Encoder):
    """Blocks over embedded tokens and their places; up to `most_tokens` of them.

    `causal`: a token sees those before it and the features are the last token's (GPT); otherwise it sees all and
    they are the mean (BERT).
    """

    causal_bias: Tensor
    vector_scale = 0.1

    def __init__(
        self, vocabulary: int, size: int, layers: int, heads: int, most_tokens: int, dropout: float, *, causal: bool
    ) -> None:
        super().__init__()
        self.width = size
        self.causal = causal
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=PAD)
        self.places = nn.Parameter(torch.randn(most_tokens, size) * 0.02)
        self.blocks = nn.ModuleList(Block(size, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.embedding.weight.mul_(0.1)  # of the order of the places; unit variance would drown them
        later = torch.triu(torch.full((most_tokens, most_tokens), _FAR), diagonal=1)
        self.register_buffer("causal_bias", later, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        mask, length = mask_of(ids), ids.shape[1]
        states = self.dropout(self.embedding(ids) + self.places[:length])
        if self.causal:  # padding comes last, so no token sees it
            bias = self.causal_bias[:length, :length][None, None]
        else:
            bias = ((1.0 - mask) * _FAR)[:, None, None, :]
        for block in self.blocks:
            states = block(states, bias)
        states = self.norm(states)
        if self.causal:
            return last_of(states, lengths_of(mask)) * mask.amax(dim=1, keepdim=True)
        return mean_of(states, mask)


def train_transformer(spec: Bert | Gpt, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError, also where the heads do not divide the size."""

    def build(reading: Reading) -> Encoder:
        if spec.size % spec.attention_heads:
            raise TrainingError(
                f"size is {spec.size}, expected a multiple of its {spec.attention_heads} attention heads"
            )
        return TransformerEncoder(
            reading.vocabulary, spec.size, spec.layers, spec.attention_heads, reading.max_tokens, spec.dropout,
            causal=spec.family == "gpt",
        )  # fmt: skip

    return train_reader(spec, build, rows, setting)
