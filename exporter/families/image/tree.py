"""Tree ensembles: gradient boosting, random forests, extremely randomised trees."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Rate, Setting, Trained


class Tree(Family, frozen=True, kw_only=True, tag="tree"):
    """Trees on the pixels, trained in float32 on the fit rows and some distorted copies of them."""

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

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with probabilities."""
        from exporter.families.image.tree_member import train_trees

        return train_trees(self, rows, setting)
