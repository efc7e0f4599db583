"""Gradient boosting on what sums up a window."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Count, NotNegative, Rate

Part = Annotated[float, Meta(gt=0, le=1)]


class Tree(Family, frozen=True, kw_only=True, tag="tree"):
    """LightGBM on single lags and on means, spreads and extremes of the window's end; the answer is a move."""

    trainer: ClassVar[str] = "exporter.series.networks.trees:train_trees"

    series: Literal["all", "target"] = "target"
    """What it looks at: every series of the window, or the predicted one alone."""
    lags: Count = 24
    """Single steps of the predicted series, from the one before the last."""
    trees: Count = 150
    leaves: Annotated[int, Meta(ge=2)] = 7
    learning_rate: Rate = 0.04
    leaf_rows: Count = 100
    """Fewest fit rows in a leaf."""
    columns: Part = 0.3
    """Share of the features that a tree may choose from."""
    rows: Part = 0.5
    """Share of the rows that each tree is grown on: windows side by side are nearly the same."""
    ridge: NotNegative = 10.0
