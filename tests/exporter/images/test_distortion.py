"""Flips and crops move pixels and nothing else; affine changes keep shape and datatype."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from exporter.members.base import Augmentation
from exporter.members.distortion import channels_last, distorted

STILL = Augmentation(degrees=0.0, scale=0.0, shift_px=0.0, shear=0.0)
LAYOUTS = {"grey": (4, 10, 12), "planes": (4, 3, 10, 12), "pixels": (4, 10, 12, 3)}


def images(layout: str) -> Tensor:
    return torch.arange(torch.Size(LAYOUTS[layout]).numel()).reshape(LAYOUTS[layout]) % 251


def as_pixels(found: Tensor) -> Tensor:
    """[n, h, w, c] of any layout."""
    planes = found[:, None] if found.dim() == 3 else found
    return planes if channels_last(found) else planes.permute(0, 2, 3, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_flip_mirrors_some_rows_and_leaves_the_others(layout: str) -> None:
    given = images(layout).to(torch.uint8)
    found = distorted(given, replace(STILL, flip=True), torch.Generator().manual_seed(1))
    assert found.dtype == given.dtype
    before, after = as_pixels(given), as_pixels(found)
    mirrored = [torch.equal(row, old.flip(1)) for row, old in zip(after, before, strict=True)]
    same = [torch.equal(row, old) for row, old in zip(after, before, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert any(mirrored)
    assert any(same)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_crop_moves_by_whole_pixels_and_repeats_the_border(layout: str) -> None:
    given = images(layout).float()
    found = distorted(given, replace(STILL, crop_px=2), torch.Generator().manual_seed(1))
    before, after = as_pixels(given), as_pixels(found)
    high, wide = before.shape[1:3]
    for old, row in zip(before, after, strict=True):
        moves = [
            old[(torch.arange(high) + y).clamp(0, high - 1)][:, (torch.arange(wide) + x).clamp(0, wide - 1)]
            for y in range(-2, 3)
            for x in range(-2, 3)
        ]
        assert any(torch.equal(row, moved) for moved in moves)
    assert not torch.equal(after, before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_affine_changes_keep_bytes_bytes(layout: str) -> None:
    given = images(layout).to(torch.uint8)
    found = distorted(given, Augmentation(), torch.Generator().manual_seed(0))
    assert found.shape == given.shape
    assert found.dtype == torch.uint8
    # Bytes are rounded, floats are not: the same change of either.
    smooth = distorted(given.float(), Augmentation(), torch.Generator().manual_seed(0))
    assert (found.float() - smooth).abs().max() <= 0.5


def test_no_bound_changes_nothing() -> None:
    given = images("pixels")
    assert distorted(given, STILL, torch.Generator()) is given
