"""A temporal convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.networks.series.level import Moves


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
