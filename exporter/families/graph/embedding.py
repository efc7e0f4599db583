"""Graph embeddings: a row for each node."""

from __future__ import annotations

from typing import Literal

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Rate, Setting, Trained


class Embedding(Family, frozen=True, kw_only=True, tag="embedding"):
    """Looked up by the node's number and classified; made from the edges alone, so it knows nothing of features.

    A new node has the mean of its neighbours' rows, and without neighbours the cold start's: the mean of all.
    """

    method: Literal["walks", "spectral"] = "walks"
    """DeepWalk's random walks in closed form, or eigenvectors, which do for larger graphs."""
    dimensions: Count = 64
    window: Count = 10
    """Steps of the walk within which nodes are near."""
    inverse_penalty: Rate = 1.0

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits. Raises TrainingError where walks have too many nodes."""
        from exporter.families.torch_member import TorchMember
        from exporter.networks.graph.positions import fit_embedding
        from exporter.networks.graph.structure import TAKES

        return TorchMember(fit_embedding(self, rows, setting), setting, "logits", TAKES)
