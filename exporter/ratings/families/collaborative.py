"""Collaborative filtering by neighbours: alike items, or alike users."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Family
from exporter.optimisation.spec import Count, NotNegative
from exporter.ratings.families.baseline import Baseline


class Collaborative(Family, frozen=True, kw_only=True, tag="collaborative"):
    """What the user's ratings of the most similar items (the most similar users' of the item) differ from the baseline.

    Similarity is the correlation of what the baseline leaves, over common ratings, shrunk by their number.
    """

    trainer: ClassVar[str] = "exporter.ratings.networks.neighbourhood:train_neighbourhood"

    by: Literal["item", "user"] = "item"
    neighbours: Count = 30
    shrinkage: NotNegative = 100.0
    """Common ratings at which a correlation counts half."""
    damping: NotNegative = 0.3
    """Similarity of a neighbour with no deviation: pulls the answer to the baseline where neighbours are few."""
    baseline: Baseline = Baseline()
