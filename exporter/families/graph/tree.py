"""Trees on smoothed features."""

from __future__ import annotations

from typing import Literal

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Setting, Trained


class Tree(Family, frozen=True, kw_only=True, tag="tree"):
    """A forest on the principal directions of features that are smoothed over the neighbours."""

    algorithm: Literal["extra_trees", "random_forest"] = "extra_trees"
    trees: Count = 300
    dimensions: Count = 64
    steps: Count = 2
    """Neighbours of neighbours that are smoothed over."""

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with probabilities."""
        from exporter.networks.graph.forest import train_forest

        return train_forest(self, rows, setting)
