"""Two towers: a network for the user and one for the item, of ids and side features."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Family, Training
from exporter.optimisation.spec import Count, Share
from exporter.ratings.families.baseline import Baseline


class TwoTower(Family, frozen=True, kw_only=True, tag="two_tower"):
    """The product of two vectors, each from an embedding of the id and from the side features.

    In training some ids are hidden at random, which teaches the cold start's embedding: a film without ratings is
    known by its genres and year, a user by age and job.
    """

    trainer: ClassVar[str] = "exporter.ratings.networks.towers:train_towers"

    dimensions: Count = 32
    hidden: Count = 64
    hidden_ids: Share = 0.1
    """Share of the ids that are hidden in each step."""
    dropout: Share = 0.3
    training: Training = Training(epochs=10, batch_rows=512, learning_rate=6e-3, weight_decay=0.5)
    baseline: Baseline = Baseline()
