"""A small vision transformer."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, Share


class Vit(Family, frozen=True, kw_only=True, tag="vit"):
    """A convolutional stem, square patches, transformer encoder layers, mean over the patches."""

    trainer: ClassVar[str] = "exporter.images.networks.attention:train_vit"

    stem: Literal["flat", "pooled"] = "flat"
    """`flat`: one convolution, then patches are cut out. `pooled`: convolutions that each halve the sides until
    patches are left; few epochs on few images teach it more (Hassani et al. 2021)."""
    patch: Count = 2
    """Side in pixels; a power of 2 for the pooled stem."""
    width: Count = 32
    """Model dimension; a multiple of `attention_heads`."""
    attention_heads: Count = 4
    layers: Count = 2
    dropout: Share = 0.05
    training: Training = Training(
        epochs=40,
        augmentation=Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1),
    )
