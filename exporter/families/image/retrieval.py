"""Nearest-neighbour retrieval: a learned embedding, and the fit rows as the index, all in one graph."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Rate, Setting, Share, Trained, Training


class Retrieval(Family, frozen=True, kw_only=True, tag="retrieval"):
    """The classes of the most similar fit rows, weighted by similarity; the embedding is trained contrastively."""

    width: Count = 24
    dimensions: Count = 32
    neighbours: Count = 20
    temperature: Rate = 0.05
    """Of the weights softmax(cosine / temperature) of the neighbours."""
    smoothing: Share = 0.02
    """Share of the answer that is spread evenly: no class ever has probability 0."""
    contrast: Rate = 0.1
    """Temperature of the supervised contrastive loss (Khosla et al. 2020: 0.1)."""
    training: Training = Training(epochs=30, batch_rows=128, learning_rate=3e-3, augmentation=Augmentation())

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with probabilities."""
        from exporter.families.torch_member import TorchMember, train_module
        from exporter.networks.image.pixels import frame_of
        from exporter.networks.image.retrieval import Embedding, NeighbourIndex, contrastive_loss

        frame = frame_of(setting)
        build = lambda: Embedding(frame, self.width, self.dimensions)  # noqa: E731
        embedding = train_module(build, rows, setting, self.training, contrastive_loss(self.contrast))
        index = NeighbourIndex(
            embedding, rows, setting.columns, min(self.neighbours, len(rows)), self.temperature, self.smoothing
        )
        return TorchMember(index, setting, "probabilities")
