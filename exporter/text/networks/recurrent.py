"""Recurrent networks that read a text in both directions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.text.families.neural import Gru, Lstm
from exporter.text.families.training import Reading
from exporter.text.networks.classifier import Encoder
from exporter.text.networks.masked import PAD, last_of, lengths_of, mask_of, max_of, mean_of, reversed_ids
from exporter.text.networks.member import train_reader

CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentEncoder(Encoder):
    """Two readers, one of the text and one of the text backwards; maximum, mean and last state of each.

    Not one bidirectional reader: its way back would begin in the padding, and packed sequences cannot be exported.
    """

    def __init__(self, cell: str, vocabulary: int, size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.width = 6 * hidden
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.forwards = CELLS[cell](size, hidden, batch_first=True)
        self.backwards = CELLS[cell](size, hidden, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        mask = mask_of(ids)
        lengths = lengths_of(mask)
        there = self._read(self.forwards, ids, mask, lengths)
        back = self._read(self.backwards, reversed_ids(ids, lengths), mask, lengths)
        return torch.cat([there, back], dim=1)

    def _read(self, reader: nn.Module, ids: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
        states, _ = reader(self.dropout(self.embedding(ids)))
        last = last_of(states, lengths) * mask.amax(dim=1, keepdim=True)
        return torch.cat([max_of(states, mask), mean_of(states, mask), last], dim=1)


def train_recurrent(spec: Gru | Lstm, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError."""

    def build(reading: Reading) -> Encoder:
        return RecurrentEncoder(spec.family, reading.vocabulary, spec.size, spec.hidden, spec.dropout)

    return train_reader(spec, build, rows, setting)
