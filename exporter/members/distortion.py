"""Random changes of images while a member trains: flips and crops of any pixels, affine distortions of floats."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from exporter.members.base import Augmentation

_MOST_CHANNELS = 4
"""Of [n, a, b, c] the last is channels where it is at most this: no image is so narrow."""


def distorted(images: Tensor, bounds: Augmentation, generator: torch.Generator) -> Tensor:
    """Each image flipped, moved, turned, scaled and sheared at random within the bounds; shape and datatype stay.

    Takes [n, h, w], [n, c, h, w] and [n, h, w, c]. What a crop uncovers is filled with the border's pixels, what an
    affine change uncovers with zeros. Nothing is drawn for a bound of 0.
    """
    if bounds.flip or bounds.crop_px:
        images = _cropped(images, bounds, generator)
    if bounds.degrees or bounds.scale or bounds.shift_px or bounds.shear:
        images = _affine(images, bounds, generator)
    return images


def channels_last(images: Tensor) -> bool:
    """Whether images [n, …] have their channels in the last dimension."""
    return images.dim() == 4 and images.shape[3] <= _MOST_CHANNELS < images.shape[2]


def _cropped(images: Tensor, bounds: Augmentation, generator: torch.Generator) -> Tensor:
    """One look-up per pixel: fast for bytes, and the same for every layout."""
    n = len(images)
    high, wide = (1, 2) if images.dim() == 3 or channels_last(images) else (2, 3)
    rows = torch.arange(images.shape[high]).repeat(n, 1)
    columns = torch.arange(images.shape[wide]).repeat(n, 1)
    if bounds.flip:
        flipped = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    if bounds.crop_px:
        shift = torch.randint(-bounds.crop_px, bounds.crop_px + 1, (2, n, 1), generator=generator)
        rows = (rows + shift[0]).clamp(0, images.shape[high] - 1)
        columns = (columns + shift[1]).clamp(0, images.shape[wide] - 1)
    row = torch.arange(n, device=images.device)[:, None, None]
    down, across = rows.to(images.device)[:, :, None], columns.to(images.device)[:, None, :]
    if high == 1:
        return images[row, down, across]
    return images.permute(0, 2, 3, 1)[row, down, across].permute(0, 3, 1, 2)


def _affine(images: Tensor, bounds: Augmentation, generator: torch.Generator) -> Tensor:
    last = channels_last(images)
    planes = images.permute(0, 3, 1, 2) if last else images if images.dim() == 4 else images[:, None]
    n, _, height, width = planes.shape

    def drawn(bound: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * bound

    angle, across, down = drawn(math.radians(bounds.degrees)), 1 + drawn(bounds.scale), 1 + drawn(bounds.scale)
    shear = drawn(bounds.shear)
    # The grid runs from -1 to 1, so a pixel is 2 / size of it.
    right, low = drawn(2 * bounds.shift_px / width), drawn(2 * bounds.shift_px / height)
    cos, sin = torch.cos(angle), torch.sin(angle)
    upper = torch.stack([cos * across, shear - sin * down, right], dim=1)
    lower = torch.stack([sin * across, cos * down, low], dim=1)
    affine = torch.stack([upper, lower], dim=1).to(images.device)
    grid = torch.nn.functional.affine_grid(affine, list(planes.shape), align_corners=False)
    moved = torch.nn.functional.grid_sample(planes.float(), grid, align_corners=False)
    if not images.dtype.is_floating_point:
        moved = moved.round()
    moved = moved.to(images.dtype)
    return moved.permute(0, 2, 3, 1) if last else moved.reshape(images.shape)
