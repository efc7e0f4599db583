"""Tree ensembles: gradient boosting, random forests, extremely randomised trees."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from exporter.members.base import Augmentation, Family
from exporter.optimisation.spec import Count, Rate


class Tree(Family, frozen=True, kw_only=True, tag="tree"):
    """Trees on the pixels, trained in float32 on the fit rows and some distorted copies of them."""

    trainer: ClassVar[str] = "exporter.images.networks.trees:train_trees"

    algorithm: Literal["lightgbm", "random_forest", "extra_trees"] = "lightgbm"
    trees: Count = 80
    """Boosting rounds (one tree per class each), or trees of the forest."""
    leaves: Annotated[int, Meta(ge=2)] = 15
    """LightGBM alone: leaves per tree."""
    learning_rate: Rate = 0.15
    """LightGBM alone."""
    copies: Annotated[int, Meta(ge=0)] = 3
    """Distorted copies of each fit row that are trained on besides the row itself."""
    augmentation: Augmentation = Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1)
