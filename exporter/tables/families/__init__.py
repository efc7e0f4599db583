"""Members on tables. Specs alone: torch is imported when a member trains."""

from exporter.members.base import Family
from exporter.tables.families.linear import Linear
from exporter.tables.families.mlp import Mlp
from exporter.tables.families.neighbours import Neighbours
from exporter.tables.families.tree import Tree

TABLE_FAMILIES: tuple[type[Family], ...] = (Linear, Mlp, Neighbours, Tree)

__all__ = ["TABLE_FAMILIES", "Linear", "Mlp", "Neighbours", "Tree"]
