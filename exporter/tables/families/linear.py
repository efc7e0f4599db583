"""Logistic and ridge regression on scaled numbers, their bins, and one-hot categories."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Rate


class Linear(Family, frozen=True, kw_only=True, tag="linear"):
    """Of classes and labels: logistic regression; of a value: ridge regression. Features and weights are one graph."""

    trainer: ClassVar[str] = "exporter.tables.networks.linear:train_linear"

    bins: Annotated[int, Meta(ge=1)] = 16
    """Pieces that a number's effect is put together from."""
    strength: Rate = 1.0
    """Of the data against the penalty: scikit-learn's C; for a value 1 / alpha."""
