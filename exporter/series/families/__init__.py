"""Members on windows of series. Specs alone: torch is imported when a member trains."""

from exporter.members.base import Family
from exporter.series.families.cnn import Cnn
from exporter.series.families.gru import Gru
from exporter.series.families.linear import Linear
from exporter.series.families.tree import Tree

SERIES_FAMILIES: tuple[type[Family], ...] = (Cnn, Gru, Linear, Tree)

__all__ = ["SERIES_FAMILIES", "Cnn", "Gru", "Linear", "Tree"]
