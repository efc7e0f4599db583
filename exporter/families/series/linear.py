"""Ridge regression on the lags of a window."""

from __future__ import annotations

from typing import Literal

from exporter.data.dataset import Rows
from exporter.families.base import Family, Rate, Setting, Trained


class Linear(Family, frozen=True, kw_only=True, tag="linear"):
    """One weight per step and series of the window, by least squares with a penalty; the answer is a move."""

    series: Literal["all", "target"] = "all"
    """What it looks at: every series of the window, or the predicted one alone."""
    penalty: Rate = 1.0
    """Of the squared weights, per row; moves are in deviations."""

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with a value."""
        from exporter.families.series.ridge import train_ridge

        return train_ridge(self, rows, setting)
