"""Popularity: what everybody thinks of an item, when."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Family, Setting, Trained
from exporter.families.pairs.baseline import Baseline


class Popularity(Family, frozen=True, kw_only=True, tag="popularity"):
    """The item's mean over time, the user's strictness and mood: nothing of the user's taste."""

    baseline: Baseline = Baseline()

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with values."""
        from exporter.networks.pairs.regressor import finished, prepared

        _, baseline, _ = prepared(self.baseline, rows, setting)
        return finished(baseline, None, setting)
