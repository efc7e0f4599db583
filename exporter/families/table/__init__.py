"""Members on tables. Specs alone: torch is imported when a member trains."""

from exporter.families.base import Family
from exporter.families.table.linear import Linear
from exporter.families.table.mlp import Mlp
from exporter.families.table.neighbours import Neighbours
from exporter.families.table.tree import Tree

TABLE_FAMILIES: tuple[type[Family], ...] = (Linear, Mlp, Neighbours, Tree)

__all__ = ["TABLE_FAMILIES", "Linear", "Mlp", "Neighbours", "Tree"]
