"""Graph embeddings: a row for each node."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Rate


class Embedding(Family, frozen=True, kw_only=True, tag="embedding"):
    """Looked up by the node's number and classified; made from the edges alone, so it knows nothing of features.

    A new node has the mean of its neighbours' rows, and without neighbours the cold start's: the mean of all.
    """

    trainer: ClassVar[str] = "exporter.graphs.networks.positions:train_embedding"

    method: Literal["walks", "spectral"] = "walks"
    """DeepWalk's random walks in closed form, or eigenvectors, which do for larger graphs."""
    dimensions: Count = 64
    window: Count = 10
    """Steps of the walk within which nodes are near."""
    inverse_penalty: Rate = 1.0
