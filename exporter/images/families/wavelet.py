"""A perceptron or trees on 2-D Haar wavelet coefficients; the transform is grouped convolutions in the graph."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, Rate, Share, Spec


class Boosting(Spec, frozen=True, kw_only=True):
    """LightGBM's trees on wavelet features."""

    rounds: Count = 100
    """One tree per class each."""
    leaves: Annotated[int, Meta(ge=2)] = 31
    learning_rate: Rate = 0.1
    feature_share: Annotated[float, Meta(gt=0, le=1)] = 0.2
    """Features that each tree sees."""


class Wavelet(Family, frozen=True, kw_only=True, tag="wavelet"):
    """A multi-level Haar transform, and what learns from it.

    `perceptron`: every subband, signed and as magnitude, then one hidden layer; for images of few pixels.
    `trees`: energies of the subbands by place, scale and direction, and the coarsest coefficients, then LightGBM.
    """

    trainer: ClassVar[str] = "exporter.images.networks.haar:train_wavelet"

    head: Literal["perceptron", "trees"] = "perceptron"
    levels: Count = 3
    """The sides must be multiples of 2 ** levels."""
    boosting: Boosting = Boosting()
    """Of `trees` alone; the following are of the perceptron alone."""
    hidden: Count = 96
    dropout: Share = 0.3
    training: Training = Training(
        epochs=40,
        learning_rate=0.01,
        augmentation=Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1),
    )
