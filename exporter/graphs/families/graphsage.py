"""GraphSAGE."""

from __future__ import annotations

from typing import ClassVar

from exporter.graphs.families.training import NodeTraining
from exporter.members.base import Family
from exporter.optimisation.spec import Count, Share


class GraphSage(Family, frozen=True, kw_only=True, tag="graphsage"):
    """Two layers, each of a node's own vector and the mean of its neighbours'."""

    trainer: ClassVar[str] = "exporter.graphs.networks.layers:train_sage"

    hidden: Count = 64
    dropout: Share = 0.5
    training: NodeTraining = NodeTraining()
