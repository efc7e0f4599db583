"""Fixed first layer of larger networks: the principal directions of small patches, whitened, both signs of each.

A network that starts from decorrelated patches trains in a fraction of the steps (Coates and Ng 2011; Jordan 2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.networks.pixels import Frame, Pixels, sampled_planes

_FLOOR = 1e-3
"""Added to each variance (pixels from 0 to 1): the weakest directions are noise and would be blown up."""
_ROWS = 2000
"""Images that the patches are taken from; evenly spaced among the fit rows."""
_GRID = 32
"""Positions per side that the stem leaves, whatever the size of the image."""


@dataclass(frozen=True)
class Filters:
    """A convolution without padding: `weight` [k, c, size, size] whitens, `bias` [k] centres."""

    weight: Tensor
    bias: Tensor
    stride: int

    def grid(self, side: int) -> int:
        """Positions that a side of so many pixels gives."""
        return (side - self.weight.shape[-1]) // self.stride + 1


def patch_filters(frame: Frame, rows: Rows, count: int, reach: int) -> Filters:
    """The `count` strongest whitened directions of square patches, fewer where a patch has fewer numbers.

    The stride is `reach` pixels for a side of 32 and grows with the side; patches overlap by half their stride, at
    least by one pixel.
    """
    stride = reach * max(1, round(min(frame.height, frame.width) / _GRID))
    size = min(stride + max(1, stride // 2), frame.height, frame.width)
    images = sampled_planes(frame, rows, _ROWS)
    patches = nn.functional.unfold(images, size, stride=max(2, stride)).transpose(1, 2).flatten(0, 1)
    mean, variance, axes = _directions(patches.double())
    kept = min(count, len(variance))
    weight = axes[:, :kept].T / torch.sqrt(variance[:kept, None] + _FLOOR)
    bias = -(weight @ mean)
    return Filters(weight.float().reshape(kept, frame.channels, size, size), bias.float(), stride)


def _directions(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variances from the largest, and their directions as columns; the sign of each is fixed."""
    mean = patches.mean(dim=0)
    centred = patches - mean
    variance, axes = torch.linalg.eigh(centred.T @ centred / len(patches))
    variance, axes = variance.flip(0).clamp(min=0.0), axes.flip(1)
    largest = axes.abs().argmax(dim=0)
    sign = torch.sign(axes[largest, torch.arange(axes.shape[1])])
    return mean, variance, axes * sign


class WhitenedPatches(nn.Module):
    """Image → [n, 2 · k, h, w] from 0 up: each direction's positive and negative part. The filters stay fixed."""

    weight: Tensor
    bias: Tensor

    def __init__(self, frame: Frame, filters: Filters) -> None:
        super().__init__()
        self.pixels = Pixels(frame)
        self.register_buffer("weight", filters.weight)
        self.register_buffer("bias", filters.bias)
        self.stride = filters.stride
        self.width = 2 * len(filters.bias)

    def forward(self, image: Tensor) -> Tensor:
        found = nn.functional.conv2d(self.pixels(image), self.weight, self.bias, stride=self.stride)
        return nn.functional.relu(torch.cat([found, -found], dim=1))
