"""Convolutional trunks of several structures: an image becomes a vector, what follows is the family's matter."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.images.networks.pixels import Frame
from exporter.images.networks.whitening import WhitenedPatches, patch_filters

Structure = Literal["deep", "residual", "separable"]

LEAST_SIDE = 16
"""Smaller images leave the later stages nothing to look at."""
_STEM = {"deep": (12, 1), "residual": (24, 2), "separable": (24, 2)}
"""Directions of the fixed first layer, and its stride for a side of 32."""


class Trunk(nn.Module):
    """Image → [n, `features`]: whitened patches, then stages that each halve the sides, then the mean or maximum."""

    def __init__(self, structure: Structure, frame: Frame, rows: Rows, width: int) -> None:
        """The first layer is fitted on `rows`. Raises TrainingError for images under 16 pixels."""
        super().__init__()
        if min(frame.height, frame.width) < LEAST_SIDE:
            raise TrainingError(
                f"structure {structure!r} takes images from {LEAST_SIDE} × {LEAST_SIDE}, "
                f"these are {frame.width} × {frame.height}"
            )
        stem = WhitenedPatches(frame, patch_filters(frame, rows, *_STEM[structure]))
        self.layers = nn.Sequential(stem, *_STAGES[structure](stem.width, width))
        self.features = _WIDEST[structure] * width
        self.maximum = structure == "deep"

    def forward(self, image: Tensor) -> Tensor:
        found = self.layers(image)
        return torch.amax(found, dim=(2, 3)) if self.maximum else torch.mean(found, dim=(2, 3))


class TrunkClassifier(nn.Module):
    """Image → logits [n, C]."""

    def __init__(self, trunk: Trunk, columns: int, dropout: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(trunk.features, columns))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.trunk(image))
        return logits


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut (He et al. 2016); a 1 × 1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = channels == width and stride == 1
        self.shortcut: nn.Module = nn.Identity() if same else _pointwise(channels, width, stride)

    def forward(self, planes: Tensor) -> Tensor:
        return nn.functional.relu(self.path(planes) + self.shortcut(planes))


class SeparableBlock(nn.Module):
    """A depthwise and a pointwise convolution (Howard et al. 2017), added to its input where the shape allows."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            *_pointwise(channels, width, 1),
            nn.ReLU(),
        )
        self.added = channels == width and stride == 1

    def forward(self, planes: Tensor) -> Tensor:
        found: Tensor = self.path(planes)
        return planes + found if self.added else found


def _pointwise(channels: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))


def _deep(channels: int, width: int) -> list[nn.Module]:
    """Three times: convolution, maximum of 2 × 2, convolution."""
    layers: list[nn.Module] = []
    for size in (width, 2 * width, 2 * width):
        layers += [
            nn.Conv2d(channels, size, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(size),
            nn.GELU(),
        ]
        layers += [nn.Conv2d(size, size, 3, padding=1, bias=False), nn.BatchNorm2d(size), nn.GELU()]
        channels = size
    return layers


def _residual(channels: int, width: int) -> list[nn.Module]:
    """Four blocks, two of which halve the sides."""
    return [
        ResidualBlock(channels, width),
        ResidualBlock(width, 2 * width, stride=2),
        ResidualBlock(2 * width, 2 * width),
        ResidualBlock(2 * width, 4 * width, stride=2),
    ]


def _separable(channels: int, width: int) -> list[nn.Module]:
    """Eight blocks, two of which halve the sides."""
    return [
        SeparableBlock(channels, width),
        SeparableBlock(width, width),
        SeparableBlock(width, width),
        SeparableBlock(width, 2 * width, stride=2),
        SeparableBlock(2 * width, 2 * width),
        SeparableBlock(2 * width, 2 * width),
        SeparableBlock(2 * width, 4 * width, stride=2),
        SeparableBlock(4 * width, 4 * width),
    ]


_STAGES = {"deep": _deep, "residual": _residual, "separable": _separable}
_WIDEST = {"deep": 2, "residual": 4, "separable": 4}
