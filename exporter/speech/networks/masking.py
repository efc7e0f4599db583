"""Hiding parts of log-mel frames while training (SpecAugment: Park et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Masking(nn.Module):
    """While training: up to `bands` neighbouring bands and `share` of the frames of each row set to 0. Else nothing."""

    def __init__(self, bands: int, share: float) -> None:
        super().__init__()
        self.bands, self.share = bands, share

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        if not self.training:
            return frames
        bands = hidden(len(frames), frames.shape[2], torch.full_like(length, frames.shape[2]), self.bands)
        widest = (length.to(frames.dtype) * self.share).amax().item()
        times = hidden(len(frames), frames.shape[1], length, widest)
        return frames * (~bands)[:, None, :] * (~times)[:, :, None]


def hidden(rows: int, places: int, length: Tensor, widest: float) -> Tensor:
    """bool [rows, places]: one run of up to `widest` places within each row's length, from torch's own generator."""
    width = torch.rand(rows, 1, device=length.device) * torch.minimum(length[:, None].float(), torch.tensor(widest))
    start = torch.rand(rows, 1, device=length.device) * (length[:, None] - width)
    place = torch.arange(places, device=length.device)[None, :]
    return (place >= start) & (place < start + width)
