"""Popularity: what everybody thinks of an item, when."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Family
from exporter.ratings.families.baseline import Baseline


class Popularity(Family, frozen=True, kw_only=True, tag="popularity"):
    """The item's mean over time, the user's strictness and mood: nothing of the user's taste."""

    trainer: ClassVar[str] = "exporter.ratings.networks.regressor:train_popularity"

    baseline: Baseline = Baseline()
