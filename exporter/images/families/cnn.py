"""Convolutional networks on images."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, Share


class Cnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """A convolutional network of one of four structures.

    `shallow`: three 3 × 3 convolutions, two poolings, one linear layer on all that is left; for images of few pixels.
    The others take 16 pixels and more, and start with a fixed layer of whitened patches, so that they learn in a
    fraction of the epochs: `deep`, six convolutions with maximum pooling; `residual`, four blocks with shortcuts;
    `separable`, eight blocks of a depthwise and a pointwise convolution.
    """

    trainer: ClassVar[str] = "exporter.images.networks.cnn:train_cnn"

    structure: Literal["shallow", "deep", "residual", "separable"] = "shallow"
    width: Count = 16
    """Channels of the first convolutions; the last have 2 (shallow, deep) or 4 times as many."""
    dropout: Share = 0.3
    """Before the last layer."""
    training: Training = Training(epochs=20, augmentation=Augmentation())
