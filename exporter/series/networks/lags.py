"""What trees are given of a window: single lags, and the mean, spread and extremes of its ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.series.networks.level import Moves

SPANS = (3, 6, 12, 24, 48)
"""Steps back from the last one that are summed up, and beside them the whole window."""


class Lags(nn.Module):
    """Moves as features [n, …]: the last `lags` of the predicted series, and sums over spans of each series."""

    def __init__(self, moves: Moves, lags: int) -> None:
        super().__init__()
        self.moves = moves
        self.first = max(0, moves.steps - 1 - lags)
        self.spans = [span for span in SPANS if span < moves.steps] + [moves.steps]

    def forward(self, window: Tensor) -> Tensor:
        moves = self.moves(window)
        # The last step is 0 by definition.
        parts = [moves[:, self.first : -1, self.moves.place]]
        parts += [moves[:, -span:].mean(dim=1) for span in self.spans]
        day = moves[:, -min(24, self.moves.steps) :]
        mean = day.mean(dim=1, keepdim=True)
        parts += [((day - mean) ** 2).mean(dim=1).sqrt(), day.amin(dim=1), day.amax(dim=1)]
        return torch.cat(parts, dim=1)
