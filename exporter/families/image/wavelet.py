"""A perceptron on 2-D Haar wavelet coefficients; the transform is a grouped convolution in the graph."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Setting, Share, Trained, Training


class Wavelet(Family, frozen=True, kw_only=True, tag="wavelet"):
    """Every subband of a multi-level Haar transform, signed and as magnitude, then one hidden layer."""

    levels: Count = 3
    hidden: Count = 96
    dropout: Share = 0.3
    training: Training = Training(
        epochs=40,
        learning_rate=0.01,
        augmentation=Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1),
    )

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits. Raises TrainingError when the image cannot be halved `levels` times."""
        from exporter.families.torch_member import train_classifier
        from exporter.networks.image.haar import WaveletNetwork, coefficient_scale
        from exporter.networks.image.pixels import frame_of

        frame = frame_of(setting)
        scale = coefficient_scale(frame, rows, self.levels)
        build = lambda: WaveletNetwork(frame, scale, setting.columns, self.levels, self.hidden, self.dropout)  # noqa: E731
        return train_classifier(build, rows, setting, self.training)
