"""A GRU over patches of a window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import absolute_error, train_regressor
from exporter.series.families.gru import Gru
from exporter.series.networks.level import Levelled, Moves, require_patches


class PatchGru(nn.Module):
    """Moves [n, L, v] in patches of some steps, each a vector, through a GRU whose last state gives [n, 1].

    Patches make the recurrence shorter and steadier (Lin et al. 2023, "SegRNN").
    """

    def __init__(self, moves: Moves, *, patch: int, hidden: int, dropout: float) -> None:
        super().__init__()
        require_patches(moves.steps, patch)
        self.patches, self.size = moves.steps // patch, patch * moves.series
        self.enter = nn.Sequential(nn.Linear(self.size, hidden), nn.ReLU())
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.leave = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, 1))

    def forward(self, moves: Tensor) -> Tensor:
        states, _ = self.gru(self.enter(torch.reshape(moves, (-1, self.patches, self.size))))
        found: Tensor = self.leave(states[:, -1])
        return found


def train_gru(spec: Gru, rows: Rows, setting: Setting) -> Trained:
    """A member with a value. Raises TrainingError, also where `patch` does not divide the window."""

    def build() -> Levelled:
        moves = Moves(rows, setting, spec.series)
        body = PatchGru(moves, patch=spec.patch, hidden=spec.hidden, dropout=spec.dropout)
        return Levelled(rows, setting, moves, body)

    return train_regressor(build, rows, setting, spec.training, absolute_error)
