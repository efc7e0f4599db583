"""GraphSAGE."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Setting, Share, Trained
from exporter.families.graph.training import NodeTraining


class GraphSage(Family, frozen=True, kw_only=True, tag="graphsage"):
    """Two layers, each of a node's own vector and the mean of its neighbours'."""

    hidden: Count = 64
    dropout: Share = 0.5
    training: NodeTraining = NodeTraining()

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits."""
        from exporter.families.torch_member import TorchMember
        from exporter.networks.graph.layers import fit_sage
        from exporter.networks.graph.structure import TAKES

        return TorchMember(fit_sage(self, rows, setting), setting, "logits", TAKES)
