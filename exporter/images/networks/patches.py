"""A linear classifier on pooled responses to patches of the data: no layer is trained but the last.

After Coates, Lee and Ng 2011 ("An analysis of single-layer networks in unsupervised feature learning"): patches drawn
from the images, whitened, serve as convolution filters; their rectified responses are added up over a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.images.networks.pixels import Frame, Pixels, sampled_planes

_ROWS = 4000
_FLOOR = 0.003
"""Added to each variance of the patches (pixels from 0 to 1), so that whitening does not blow up noise."""
_LEAST = 1e-3
"""Smallest length by which a patch is divided."""


@dataclass(frozen=True)
class Bank:
    """Filters as a convolution: `weight` [k, c, size, size] gives responses to whitened patches, `bias` [k]."""

    weight: Tensor
    bias: Tensor


def patch_bank(frame: Frame, rows: Rows, count: int, size: int, seed: int) -> Bank:
    """`count` whitened patches of `size` × `size` pixels from random places of the rows, each of length 1.

    Raises TrainingError where the image is smaller than a patch.
    """
    if size > min(frame.height, frame.width):
        raise TrainingError(f"patch is {size}, images are {frame.width} × {frame.height}")
    images = sampled_planes(frame, rows, _ROWS)
    step = max(1, size // 2)
    patches = nn.functional.unfold(images, size, stride=step).transpose(1, 2).flatten(0, 1)
    generator = torch.Generator().manual_seed(seed)
    patches = patches[torch.randperm(len(patches), generator=generator)[: max(20 * patches.shape[1], 20 * count)]]
    mean = patches.mean(dim=0)
    centred = (patches - mean).double()
    variance, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    whitening = axes / torch.sqrt(variance.clamp(min=0.0) + _FLOOR) @ axes.T
    drawn = centred[:count] @ whitening
    drawn /= drawn.norm(dim=1, keepdim=True).clamp(min=_LEAST)
    weight = (drawn @ whitening).float()
    return Bank(weight.reshape(-1, frame.channels, size, size), -(weight @ mean))


class PatchResponses(nn.Module):
    """Image → float32 [n, `size`]: both signs of each filter's response beyond `threshold`, averaged on a grid."""

    weight: Tensor
    bias: Tensor

    def __init__(self, frame: Frame, bank: Bank, stride: int, grid: int, threshold: float) -> None:
        super().__init__()
        self.pixels = Pixels(frame)
        self.register_buffer("weight", bank.weight)
        self.register_buffer("bias", bank.bias)
        self.stride, self.threshold = stride, threshold
        kernel = bank.weight.shape[-1]
        high, wide = ((side - kernel) // stride + 1 for side in (frame.height, frame.width))
        self.grid = (min(grid, high), min(grid, wide))
        self.block = (high // self.grid[0], wide // self.grid[1])
        self.size = 2 * len(bank.bias) * self.grid[0] * self.grid[1]

    def forward(self, image: Tensor) -> Tensor:
        found = nn.functional.conv2d(self.pixels(image), self.weight, self.bias, stride=self.stride)
        # The rows and columns beyond a whole number of blocks are left out.
        found = found[:, :, : self.grid[0] * self.block[0], : self.grid[1] * self.block[1]]
        over = torch.cat(
            [nn.functional.relu(found - self.threshold), nn.functional.relu(-found - self.threshold)], dim=1
        )
        return nn.functional.avg_pool2d(over, self.block).flatten(1)


class LinearOnFeatures(nn.Module):
    """Image → logits [n, C]: features, standardised, then one linear layer."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: nn.Module, mean: Tensor, deviation: Tensor, head: nn.Linear) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.head = head

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head((self.features(image) - self.mean) / self.deviation)
        return logits
