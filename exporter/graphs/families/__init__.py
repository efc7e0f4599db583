"""Members that classify the nodes of one graph. Specs alone: torch is imported when a member trains."""

from exporter.graphs.families.embedding import Embedding
from exporter.graphs.families.gcn import Gcn
from exporter.graphs.families.graphsage import GraphSage
from exporter.graphs.families.linear import Linear
from exporter.graphs.families.propagation import Propagation
from exporter.graphs.families.training import NodeTraining
from exporter.graphs.families.tree import Tree
from exporter.members.base import Family

GRAPH_FAMILIES: tuple[type[Family], ...] = (GraphSage, Gcn, Embedding, Propagation, Linear, Tree)

__all__ = ["GRAPH_FAMILIES", "Embedding", "Gcn", "GraphSage", "Linear", "NodeTraining", "Propagation", "Tree"]
