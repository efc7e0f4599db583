"""Graph convolutional networks."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.graphs.families.training import NodeTraining
from exporter.members.base import Family
from exporter.optimisation.spec import Count, Share


class Gcn(Family, frozen=True, kw_only=True, tag="gcn"):
    """Two convolutions over the normalised adjacency, or a network whose answers spread by personalised PageRank."""

    trainer: ClassVar[str] = "exporter.graphs.networks.layers:train_gcn"

    hidden: Count = 64
    dropout: Share = 0.5
    back: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """The walk's chance to return; present: PageRank takes the place of the convolutions (APPNP)."""
    steps: Count = 10
    """Of the walk, in training."""
    training: NodeTraining = NodeTraining()
