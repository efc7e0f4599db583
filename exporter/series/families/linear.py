"""Ridge regression on the lags of a window."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Family
from exporter.optimisation.spec import Rate


class Linear(Family, frozen=True, kw_only=True, tag="linear"):
    """One weight per step and series of the window, by least squares with a penalty; the answer is a move."""

    trainer: ClassVar[str] = "exporter.series.networks.ridge:train_ridge"

    series: Literal["all", "target"] = "all"
    """What it looks at: every series of the window, or the predicted one alone."""
    penalty: Rate = 1.0
    """Of the squared weights, per row; moves are in deviations."""
