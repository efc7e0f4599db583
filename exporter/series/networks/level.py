"""Windows relative to their last value, and answers relative to it: the level of a series says little of its moves."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting
from exporter.series.source import PREDICTED, WINDOW

Which = Literal["all", "target"]
"""The series that a member looks at: all of them, or the predicted one alone."""


class Last(nn.Module):
    """The last value of the predicted series, [n, 1]."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.predicted = int(setting.context[PREDICTED])

    def forward(self, window: Tensor) -> Tensor:
        return window[:, -1, self.predicted : self.predicted + 1]


class Moves(nn.Module):
    """Windows [n, L, v] of the series looked at, less their last value, in deviations of the fit rows."""

    def __init__(self, rows: Rows, setting: Setting, which: Which) -> None:
        super().__init__()
        windows = rows.inputs[WINDOW]
        predicted = int(setting.context[PREDICTED])
        chosen = np.array([predicted]) if which == "target" else np.arange(windows.shape[2])
        deviation = windows[:, :, chosen].std(axis=(0, 1), dtype=np.float64)
        self.steps, self.series = windows.shape[1], len(chosen)
        self.everything = which == "all"
        self.place = 0 if which == "target" else predicted
        """Of the predicted series among those looked at."""
        self.chosen = nn.Buffer(torch.from_numpy(chosen.astype(np.int64)))
        self.deviation = nn.Buffer(torch.from_numpy(np.where(deviation > 0, deviation, 1.0).astype(np.float32)))

    def forward(self, window: Tensor) -> Tensor:
        seen = window if self.everything else window[:, :, self.chosen]
        return (seen - seen[:, -1:]) / self.deviation


class Levelled(nn.Module):
    """`body` maps moves [n, L, v] to [n, 1]: how far the target is from the last value, in deviations."""

    def __init__(self, rows: Rows, setting: Setting, moves: Moves, body: nn.Module) -> None:
        super().__init__()
        self.last, self.moves, self.body = Last(setting), moves, body
        spread = float(difference(rows, setting).std(dtype=np.float64))
        self.spread = nn.Buffer(torch.tensor([spread or 1.0]))

    def forward(self, window: Tensor) -> Tensor:
        found: Tensor = self.last(window) + self.spread * self.body(self.moves(window))
        return found


def difference(rows: Rows, setting: Setting) -> NDArray[np.float32]:
    """float32 [n]: each row's target less the last value of its window."""
    found: NDArray[np.float32] = rows.target - rows.inputs[WINDOW][:, -1, int(setting.context[PREDICTED])]
    return found


def require_patches(steps: int, patch: int) -> None:
    """Raise TrainingError where a window cannot be cut into whole patches."""
    if steps % patch:
        raise TrainingError(f"patch is {patch}, expected a divisor of the window's {steps} steps")
