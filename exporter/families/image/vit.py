"""A small vision transformer."""

from __future__ import annotations

from typing import Literal

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Setting, Share, Trained, Training


class Vit(Family, frozen=True, kw_only=True, tag="vit"):
    """A convolutional stem, square patches, transformer encoder layers, mean over the patches."""

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

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits. Raises TrainingError when patches or heads do not divide what they must."""
        from exporter.networks.image.attention import VisionTransformer
        from exporter.networks.image.pixels import frame_of
        from exporter.networks.torch_member import train_classifier

        frame = frame_of(setting)
        shape = (self.stem, self.patch, self.width, self.attention_heads, self.layers)
        build = lambda: VisionTransformer(frame, setting.columns, *shape, self.dropout)  # noqa: E731
        return train_classifier(build, rows, setting, self.training)
