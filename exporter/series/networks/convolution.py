"""A temporal convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import absolute_error, train_regressor
from exporter.series.families.cnn import Cnn
from exporter.series.networks.level import Levelled, Moves


class TemporalCnn(nn.Module):
    """Dilated convolutions over moves [n, L, v], each layer looking twice as far; mean and last step give [n, 1]."""

    def __init__(self, moves: Moves, *, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        entering = moves.series
        for layer in range(layers):
            dilation = 2**layer
            steps += [
                nn.Conv1d(entering, width, 3, padding=dilation, dilation=dilation),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
            entering = width
        self.body = nn.Sequential(*steps)
        self.leave = nn.Linear(2 * width, 1)

    def forward(self, moves: Tensor) -> Tensor:
        found = self.body(moves.transpose(1, 2))
        answer: Tensor = self.leave(torch.cat([found.mean(dim=2), found[:, :, -1]], dim=1))
        return answer


def train_cnn(spec: Cnn, rows: Rows, setting: Setting) -> Trained:
    """A member with a value. Raises TrainingError."""

    def build() -> Levelled:
        moves = Moves(rows, setting, spec.series)
        body = TemporalCnn(moves, width=spec.width, layers=spec.layers, dropout=spec.dropout)
        return Levelled(rows, setting, moves, body)

    return train_regressor(build, rows, setting, spec.training, absolute_error)
