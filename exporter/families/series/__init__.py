"""Members on windows of series. Specs alone: torch is imported when a member trains."""

from exporter.families.base import Family
from exporter.families.series.cnn import Cnn
from exporter.families.series.gru import Gru
from exporter.families.series.linear import Linear
from exporter.families.series.tree import Tree

SERIES_FAMILIES: tuple[type[Family], ...] = (Cnn, Gru, Linear, Tree)

__all__ = ["SERIES_FAMILIES", "Cnn", "Gru", "Linear", "Tree"]
