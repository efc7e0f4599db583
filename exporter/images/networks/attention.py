"""A small vision transformer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.images.families.vit import Vit
from exporter.images.networks.pixels import Frame, Pixels, frame_of
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import train_classifier


class VisionTransformer(nn.Module):
    """Image → logits [n, C]: convolutions, square patches, pre-norm encoder layers, mean over the patches."""

    def __init__(
        self,
        frame: Frame,
        columns: int,
        stem: Literal["flat", "pooled"],
        patch: int,
        width: int,
        heads: int,
        layers: int,
        dropout: float,
    ) -> None:
        """Raises TrainingError where patches do not divide the image, or heads the width."""
        super().__init__()
        if frame.height % patch or frame.width % patch:
            raise TrainingError(f"patch is {patch}, which does not divide {frame.width} × {frame.height}")
        if width % heads:
            raise TrainingError(f"width is {width}, which is no multiple of attention_heads, {heads}")
        self.stem = nn.Sequential(Pixels(frame), *_STEMS[stem](frame.channels, patch, width))
        patches = (frame.height // patch) * (frame.width // patch)
        self.position = nn.Parameter(torch.randn(1, patches, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, columns))

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.stem(image).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.head(self.encoder(tokens).mean(dim=1))
        return logits


def _flat(channels: int, patch: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, patch, stride=patch)]


def _pooled(channels: int, patch: int, width: int) -> list[nn.Module]:
    """A convolution and a halving for each factor of 2 in the patch; the last has the full width, each before half."""
    halvings = patch.bit_length() - 1
    if 2**halvings != patch:
        raise TrainingError(f"patch is {patch}, the pooled stem takes a power of 2")
    layers: list[nn.Module] = []
    for left in reversed(range(halvings)):
        size = max(1, width >> left)
        layers += [
            nn.Conv2d(channels, size, 3, padding=1, bias=False),
            nn.BatchNorm2d(size),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = size
    return layers or [nn.Conv2d(channels, width, 3, padding=1)]


_STEMS = {"flat": _flat, "pooled": _pooled}


def train_vit(spec: Vit, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError when patches or heads do not divide what they must."""
    frame = frame_of(setting)
    shape = (spec.stem, spec.patch, spec.width, spec.attention_heads, spec.layers)
    build = lambda: VisionTransformer(frame, setting.columns, *shape, spec.dropout)  # noqa: E731
    return train_classifier(build, rows, setting, spec.training)
