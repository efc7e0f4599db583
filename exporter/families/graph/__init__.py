"""Members that classify the nodes of one graph. Specs alone: torch is imported when a member trains."""

from exporter.families.base import Family
from exporter.families.graph.embedding import Embedding
from exporter.families.graph.gcn import Gcn
from exporter.families.graph.graphsage import GraphSage
from exporter.families.graph.linear import Linear
from exporter.families.graph.propagation import Propagation
from exporter.families.graph.training import NodeTraining
from exporter.families.graph.tree import Tree

GRAPH_FAMILIES: tuple[type[Family], ...] = (GraphSage, Gcn, Embedding, Propagation, Linear, Tree)

__all__ = ["GRAPH_FAMILIES", "Embedding", "Gcn", "GraphSage", "Linear", "NodeTraining", "Propagation", "Tree"]
