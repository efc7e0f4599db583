"""Tree ensembles on tables: gradient boosting, random forests, extremely randomised trees."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Count, NotNegative, Rate

Part = Annotated[float, Meta(gt=0, le=1)]


class Tree(Family, frozen=True, kw_only=True, tag="tree"):
    """Trees on the numbers (gaps filled, and told) and on the categories; of classes, labels or a value."""

    trainer: ClassVar[str] = "exporter.tables.networks.trees:train_trees"

    algorithm: Literal["lightgbm", "random_forest", "extra_trees"] = "lightgbm"
    categories: Literal["codes", "means", "one_hot"] = "codes"
    """By frequency, by the mean target of the fit rows, or one column each."""
    trees: Count = 300
    """Boosting rounds (one tree per class each, of two classes one), or trees of the forest."""
    leaves: Annotated[int, Meta(ge=2)] = 31
    """LightGBM alone: leaves per tree."""
    depth: Annotated[int, Meta(ge=0)] = 0
    """Of each tree; 0: no limit."""
    learning_rate: Rate = 0.05
    """LightGBM alone."""
    leaf_rows: Count = 20
    """Fewest fit rows in a leaf."""
    columns: Part = 0.5
    """Share of the features that a tree (LightGBM) or a split (forests) may choose from."""
    rows: Part = 0.8
    """LightGBM alone: share of the rows that each tree is grown on."""
    ridge: NotNegative = 0.0
    """LightGBM alone: pull of the leaves towards 0."""
