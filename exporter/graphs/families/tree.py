"""Trees on smoothed features."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Family
from exporter.optimisation.spec import Count


class Tree(Family, frozen=True, kw_only=True, tag="tree"):
    """A forest on the principal directions of features that are smoothed over the neighbours."""

    trainer: ClassVar[str] = "exporter.graphs.networks.forest:train_forest"

    algorithm: Literal["extra_trees", "random_forest"] = "extra_trees"
    trees: Count = 300
    dimensions: Count = 64
    steps: Count = 2
    """Neighbours of neighbours that are smoothed over."""
