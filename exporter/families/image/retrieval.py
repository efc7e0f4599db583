"""Nearest-neighbour retrieval: a learned embedding, and the fit rows as the index, all in one graph."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Rate, Setting, Share, Trained, Training


class Retrieval(Family, frozen=True, kw_only=True, tag="retrieval"):
    """The classes of the most similar fit rows, weighted by similarity; the embedding is trained for that."""

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

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with probabilities. Raises TrainingError where the images are too small for the structure."""
        from exporter.networks.image.pixels import frame_of
        from exporter.networks.image.retrieval import (
            Embedding,
            NeighbourIndex,
            ProxyClassifier,
            TrunkEmbedding,
            contrastive_loss,
            embedding_of,
        )
        from exporter.networks.torch_member import TorchMember, cross_entropy, train_module

        frame, columns, contrast = frame_of(setting), setting.columns, self.contrast

        def build() -> Embedding | TrunkEmbedding:
            return embedding_of(self.structure, frame, rows, self.width, self.dimensions)

        def build_with_proxies() -> ProxyClassifier:
            return ProxyClassifier(build(), self.dimensions, columns, contrast)

        if self.loss == "proxies":
            trained = train_module(build_with_proxies, rows, setting, self.training, cross_entropy)
            embedding = trained.get_submodule("embedding")
        else:
            embedding = train_module(build, rows, setting, self.training, contrastive_loss(contrast))
        index = NeighbourIndex(
            embedding, _kept(rows, self.keys), setting.columns, self.neighbours, self.temperature, self.smoothing
        )
        return TorchMember(index, setting, "probabilities")


def _kept(rows: Rows, keys: int | None) -> Rows:
    """Evenly spaced rows, as many as are to be in the index."""
    import numpy as np

    if keys is None or keys >= len(rows):
        return rows
    return rows.take(np.linspace(0, len(rows) - 1, keys).round().astype(np.int64))
