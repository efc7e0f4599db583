"""Nearest-neighbour retrieval: a learned embedding, and the fit rows as the index, all in one graph."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, Rate, Share


class Retrieval(Family, frozen=True, kw_only=True, tag="retrieval"):
    """The classes of the most similar fit rows, weighted by similarity; the embedding is trained for that."""

    trainer: ClassVar[str] = "exporter.images.networks.retrieval:train_retrieval"

    structure: Literal["shallow", "deep", "residual", "separable"] = "shallow"
    """Of the network that embeds; as those of `cnn`."""
    width: Count = 24
    dimensions: Count = 32
    neighbours: Count = 20
    temperature: Rate = 0.05
    """Of the weights softmax(cosine / temperature) of the neighbours."""
    smoothing: Share = 0.02
    """Share of the answer that is spread evenly: no class ever has probability 0."""
    loss: Literal["contrastive", "proxies"] = "contrastive"
    """`contrastive`: rows of a class are drawn together, others pushed apart (Khosla et al. 2020). `proxies`: rows are
    drawn to a learned vector of their class; on few epochs the better one (CIFAR-10, 15,000 rows, 5 epochs: 62%)."""
    contrast: Rate = 0.1
    """Temperature of either loss (Khosla et al. 2020: 0.1)."""
    keys: Annotated[int, Meta(ge=1)] | None = None
    """Fit rows in the index, evenly spaced; absent: all of them. A graph grows by 4 · dimensions bytes for each."""
    training: Training = Training(epochs=30, batch_rows=128, learning_rate=3e-3, augmentation=Augmentation())
