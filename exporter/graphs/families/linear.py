"""A linear model on smoothed features."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Rate


class Linear(Family, frozen=True, kw_only=True, tag="linear"):
    """Logistic regression on features smoothed over the neighbours."""

    trainer: ClassVar[str] = "exporter.graphs.networks.smoothing:train_linear"

    steps: Count = 3
    """Neighbours of neighbours that are smoothed over."""
    inverse_penalty: Rate = 1000.0
