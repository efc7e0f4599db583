"""Graph convolutional networks."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Setting, Share, Trained
from exporter.families.graph.training import NodeTraining


class Gcn(Family, frozen=True, kw_only=True, tag="gcn"):
    """Two convolutions over the normalised adjacency, or a network whose answers spread by personalised PageRank."""

    hidden: Count = 64
    dropout: Share = 0.5
    back: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """The walk's chance to return; present: PageRank takes the place of the convolutions (APPNP)."""
    steps: Count = 10
    """Of the walk, in training."""
    training: NodeTraining = NodeTraining()

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits."""
        from exporter.families.torch_member import TorchMember
        from exporter.networks.graph.layers import fit_gcn, fit_pagerank
        from exporter.networks.graph.structure import TAKES

        fitted = fit_gcn(self, rows, setting) if self.back is None else fit_pagerank(self, self.back, rows, setting)
        return TorchMember(fitted, setting, "logits", TAKES)
