"""Members that rate a pair of a user and an item. Specs alone: torch is imported when a member trains."""

from exporter.members.base import Family
from exporter.ratings.families.baseline import Baseline
from exporter.ratings.families.collaborative import Collaborative
from exporter.ratings.families.factors import Factors
from exporter.ratings.families.popularity import Popularity
from exporter.ratings.families.two_tower import TwoTower

PAIR_FAMILIES: tuple[type[Family], ...] = (Collaborative, Factors, TwoTower, Popularity)

__all__ = ["PAIR_FAMILIES", "Baseline", "Collaborative", "Factors", "Popularity", "TwoTower"]
