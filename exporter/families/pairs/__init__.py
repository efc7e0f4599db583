"""Members that rate a pair of a user and an item. Specs alone: torch is imported when a member trains."""

from exporter.families.base import Family
from exporter.families.pairs.baseline import Baseline
from exporter.families.pairs.collaborative import Collaborative
from exporter.families.pairs.factors import Factors
from exporter.families.pairs.popularity import Popularity
from exporter.families.pairs.two_tower import TwoTower

PAIR_FAMILIES: tuple[type[Family], ...] = (Collaborative, Factors, TwoTower, Popularity)

__all__ = ["PAIR_FAMILIES", "Baseline", "Collaborative", "Factors", "Popularity", "TwoTower"]
