"""Convolutional networks on images."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, Share


class Cnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """A convolutional network of one of five structures.

    `two_layer`: a 5 × 5 convolution and a pooling, a 3 × 3 convolution of stride 2, one linear layer on the 4 × 4
    places that are left: the network that tutorials begin with, of 256 or 512 channels. The first convolution has a
    stride that makes any image about 16 × 16, and on large ones a kernel as wide, so that 224 pixels cost about what
    32 do.
    `shallow`: three 3 × 3 convolutions, two poolings, one linear layer on all that is left; for images of few pixels.
    The others take 16 pixels and more, and start with a fixed layer of whitened patches, so that they learn in a
    fraction of the epochs: `deep`, six convolutions with maximum pooling; `residual`, four blocks with shortcuts;
    `separable`, eight blocks of a depthwise and a pointwise convolution.
    """

    trainer: ClassVar[str] = "exporter.images.networks.cnn:train_cnn"

    structure: Literal["two_layer", "shallow", "deep", "residual", "separable"] = "shallow"
    width: Count = 16
    """Channels of the first convolutions; the last have as many (two_layer), 2 (shallow, deep) or 4 times as many."""
    dropout: Share = 0.3
    """Before the last layer."""
    training: Training = Training(epochs=20, augmentation=Augmentation())
