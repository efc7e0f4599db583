"""Two towers: a network for the user and one for the item, of ids and side features."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Setting, Share, Trained, Training
from exporter.families.pairs.baseline import Baseline


class TwoTower(Family, frozen=True, kw_only=True, tag="two_tower"):
    """The product of two vectors, each from an embedding of the id and from the side features.

    In training some ids are hidden at random, which teaches the cold start's embedding: a film without ratings is
    known by its genres and year, a user by age and job.
    """

    dimensions: Count = 32
    hidden: Count = 64
    hidden_ids: Share = 0.1
    """Share of the ids that are hidden in each step."""
    dropout: Share = 0.3
    training: Training = Training(epochs=10, batch_rows=512, learning_rate=6e-3, weight_decay=0.5)
    baseline: Baseline = Baseline()

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with values."""
        from exporter.networks.pairs.regressor import finished, prepared
        from exporter.networks.pairs.towers import fit_towers

        ratings, baseline, left = prepared(self.baseline, rows, setting)
        return finished(baseline, fit_towers(self, ratings, left, setting), setting)
