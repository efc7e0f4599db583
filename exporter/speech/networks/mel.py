"""From samples to log-mel frames: the Fourier transform is a strided convolution, the silence around is cut off."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WINDOW_S, HOP_S = 0.032, 0.010
BANDS = 40
LOWEST_HZ = 60.0

RANGE = math.log(1e5)
"""What is 50 dB or more below a clip's loudest band counts as silent: below lie the recording's own noise and the
rounding of float32."""

ACTIVE = 1e-4
"""A frame belongs to what is said from 40 dB below the loudest frame on; frames between two such ones always do."""

_TINY = 1e-12
"""Of power; a clip of zeros has no loudest band. Full scale is about 4,000 at 8 kHz."""


class LogMel(nn.Module):
    """Samples float32 [n, T] → frames [n, F, bands] from -1 to 1, and how many are valid: int64 [n], 1 to F.

    F is ⌊(T + window) / hop⌋ + 1. Level does not matter: each clip is measured against its loudest band. Frames begin
    with what is said; those behind its end are 0: zeros after a clip change nothing, nor does a hop of zeros before.
    """

    filters: Tensor
    bands: Tensor

    def __init__(self, sample_rate: int, bands: int = BANDS) -> None:
        super().__init__()
        self.window, self.hop = round(WINDOW_S * sample_rate), round(HOP_S * sample_rate)
        self.width = bands
        self.register_buffer("filters", torch.from_numpy(fourier_filters(self.window)))
        self.register_buffer("bands", torch.from_numpy(mel_bank(sample_rate, self.window, bands)))

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        padded = nn.functional.pad(audio[:, None], (self.window, self.window))
        real, imaginary = nn.functional.conv1d(padded, self.filters, stride=self.hop).chunk(2, dim=1)
        power = (real * real + imaginary * imaginary).transpose(1, 2) @ self.bands
        frames, length = trimmed(levels(power), power.sum(dim=2))
        return frames, length


def levels(power: Tensor) -> Tensor:
    """Power [n, F, bands] on a logarithmic scale: 1 is the clip's largest value, -1 is `RANGE` below it or less."""
    loudest = power.amax(dim=(1, 2), keepdim=True)
    # Limits, not sums: onnxscript leaves out a sum with anything as small as this.
    heard = power.maximum(loudest * math.exp(-RANGE)).clamp(min=_TINY)
    below = torch.log(heard / loudest.clamp(min=_TINY))
    return below * (2 / RANGE) + 1


def trimmed(frames: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [n, F, d] moved so that the first active one of `energy` [n, F] is the first; and the length int64 [n]."""
    place = torch.arange(energy.shape[1], device=energy.device)
    active = energy >= energy.amax(dim=1, keepdim=True) * ACTIVE
    first = torch.where(active, place, energy.shape[1]).amin(dim=1)
    last = torch.where(active, place, 0).amax(dim=1)
    length = last - first + 1
    index = (first[:, None] + place).clamp(max=energy.shape[1] - 1)
    moved = frames.gather(1, index[:, :, None].expand(-1, -1, frames.shape[2]))
    return moved * valid(length, moved)[:, :, None], length


def valid(length: Tensor, frames: Tensor) -> Tensor:
    """Which of frames [n, F, …] are within `length` int64 [n]: float32 [n, F] of 1 and 0."""
    place = torch.arange(frames.shape[1], device=frames.device)
    return (place < length[:, None]).to(frames.dtype)


def fourier_filters(window: int) -> NDArray[np.float32]:
    """float32 [2 · (window / 2 + 1), 1, window]: cosines, then sines, under a Hann window."""
    time, bin_ = np.arange(window), np.arange(window // 2 + 1)
    angle = 2 * np.pi * np.outer(bin_, time) / window
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * time / window)
    return (np.concatenate([np.cos(angle), -np.sin(angle)]) * hann)[:, None].astype(np.float32)


def mel_bank(sample_rate: int, window: int, bands: int) -> NDArray[np.float32]:
    """float32 [window / 2 + 1, bands]: triangles evenly spaced in mel (O'Shaughnessy 1987), each of sum 1."""
    top = _mel(sample_rate / 2)
    corners = _hertz(np.linspace(_mel(LOWEST_HZ), top, bands + 2))
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    frequency = np.arange(window // 2 + 1)[:, None] * sample_rate / window
    # Low bands are narrower than a bin: without a least width some would be empty.
    least = sample_rate / window
    rising = (frequency - low) / np.maximum(centre - low, least) + np.maximum(0, 1 - (centre - low) / least)
    falling = (high - frequency) / np.maximum(high - centre, least) + np.maximum(0, 1 - (high - centre) / least)
    weight = np.clip(np.minimum(rising, falling), 0, 1)
    bank: NDArray[np.float32] = (weight / weight.sum(axis=0)).astype(np.float32)
    return bank


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 700 * (10 ** (mel / 2595) - 1)
    return found
