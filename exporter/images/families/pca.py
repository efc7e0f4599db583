"""A linear classifier or a perceptron on principal components; the projection is part of the graph."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, Share


class Pca(Family, frozen=True, kw_only=True, tag="pca"):
    """Whitened principal components of the fit rows, then two hidden layers or none."""

    trainer: ClassVar[str] = "exporter.images.networks.components:train_pca"

    components: Count = 40
    hidden: Annotated[int, Meta(ge=0)] = 128
    """Of the first layer, the second has half; 0: a linear classifier."""
    dropout: Share = 0.2
    training: Training = Training(
        epochs=40,
        learning_rate=6e-3,
        augmentation=Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1),
    )
