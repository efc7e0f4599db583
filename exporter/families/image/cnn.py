"""Convolutional networks on images."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Setting, Share, Trained, Training


class Cnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """Three 3 × 3 convolutions with batch normalisation, two poolings, one linear layer."""

    width: Count = 16
    """Channels of the first two convolutions; the third has twice as many."""
    dropout: Share = 0.3
    training: Training = Training(epochs=20, augmentation=Augmentation())

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits."""
        from exporter.families.torch_member import train_classifier
        from exporter.networks.image.cnn import ConvolutionalNetwork
        from exporter.networks.image.pixels import frame_of

        frame = frame_of(setting)
        build = lambda: ConvolutionalNetwork(frame, setting.columns, self.width, self.dropout)  # noqa: E731
        return train_classifier(build, rows, setting, self.training)
