"""Convolutional networks on images."""

from __future__ import annotations

from typing import Literal

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Setting, Share, Trained, Training


class Cnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """A convolutional network of one of four structures.

    `shallow`: three 3 × 3 convolutions, two poolings, one linear layer on all that is left; for images of few pixels.
    The others take 16 pixels and more, and start with a fixed layer of whitened patches, so that they learn in a
    fraction of the epochs: `deep`, six convolutions with maximum pooling; `residual`, four blocks with shortcuts;
    `separable`, eight blocks of a depthwise and a pointwise convolution.
    """

    structure: Literal["shallow", "deep", "residual", "separable"] = "shallow"
    width: Count = 16
    """Channels of the first convolutions; the last have 2 (shallow, deep) or 4 times as many."""
    dropout: Share = 0.3
    """Before the last layer."""
    training: Training = Training(epochs=20, augmentation=Augmentation())

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits. Raises TrainingError where the images are too small for the structure."""
        from exporter.networks.image.cnn import ConvolutionalNetwork
        from exporter.networks.image.pixels import frame_of
        from exporter.networks.image.trunk import Trunk, TrunkClassifier
        from exporter.networks.torch_member import train_classifier

        frame, columns, structure = frame_of(setting), setting.columns, self.structure

        def network() -> ConvolutionalNetwork | TrunkClassifier:
            if structure == "shallow":
                return ConvolutionalNetwork(frame, columns, self.width, self.dropout)
            return TrunkClassifier(Trunk(structure, frame, rows, self.width), columns, self.dropout)

        return train_classifier(network, rows, setting, self.training)
