"""Wavelet scattering of sound (Andén & Mallat 2014): moduli of strided convolutions with Morlet wavelets, twice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.speech.networks.mel import levels, trimmed
from exporter.speech.networks.timing import Stretched

PER_OCTAVE = 6
LOWEST_HZ, HIGHEST_SHARE = 80.0, 0.45
"""Centres of the first order: from here to this share of the sample rate."""
LONGEST_S = 0.010
"""Deviation of the longest wavelet of the first order: lower tones get wider bands, so that time stays sharp."""
MODULATIONS_HZ = (5.0, 10.0, 20.0, 40.0)
"""Second order: how fast the loudness of a band changes; syllables come at about 5 Hz."""
ENVELOPE_HZ, FRAME_HZ = 1000, 100
_FLOOR = 0.03
"""Of a clip's largest modulus: less is silence in the ratios of the second order."""

_TINY = 1e-7
"""Of a modulus: a clip of zeros has no ratios."""


class Scattering(nn.Module):
    """Samples float32 [n, T] → features [n, size]: log first order in `segments` parts of what is said, the ratios of
    the second order to the first in `parts` parts, and the duration in seconds. Level does not matter."""

    first: Tensor
    smooth: Tensor
    second: Tensor

    def __init__(self, sample_rate: int, segments: int, parts: int) -> None:
        super().__init__()
        centres = first_centres(sample_rate)
        self.bands = len(centres)
        self.stride, self.step = round(sample_rate / ENVELOPE_HZ), round(ENVELOPE_HZ / FRAME_HZ)
        self.size = self.bands * (segments + parts * len(MODULATIONS_HZ)) + 1
        deviations = np.minimum(PER_OCTAVE / (np.pi * centres), LONGEST_S)
        rate = sample_rate / self.stride
        slow = np.array(MODULATIONS_HZ)
        self.register_buffer("first", torch.from_numpy(morlets(centres, deviations, sample_rate)))
        self.register_buffer("second", torch.from_numpy(morlets(slow, 1 / (np.pi * slow), rate)))
        self.register_buffer("smooth", torch.from_numpy(gaussian(LONGEST_S, rate)))
        self.segments, self.parts = Stretched(segments), Stretched(parts)

    def forward(self, audio: Tensor) -> Tensor:
        # Room for what the longest wavelet and the smoothing still hear of a clip: zeros behind it change nothing.
        room = self.first.shape[2]
        envelope = modulus(nn.functional.pad(audio[:, None], (room, room)), self.first, self.stride)
        alone = envelope.reshape(-1, 1, envelope.shape[2])
        loud = same(alone, self.smooth, self.step).reshape(audio.shape[0], self.bands, -1)
        fast = modulus(alone, self.second, self.step).reshape(audio.shape[0], self.bands * len(MODULATIONS_HZ), -1)
        both = torch.cat([loud, fast], dim=1).transpose(1, 2)
        # One trim for both orders, so that they stay side by side.
        frames, length = trimmed(both, (loud * loud).sum(dim=1))
        power = frames[:, :, : self.bands]
        tones = self.segments(levels(power * power), length)
        ratios = self._ratios(frames, length)
        seconds = length[:, None].to(tones.dtype) / FRAME_HZ
        return torch.cat([tones.flatten(1), ratios.flatten(1), seconds], dim=1)

    def _ratios(self, frames: Tensor, length: Tensor) -> Tensor:
        mean = self.parts(frames, length)
        loud, fast = mean[:, :, : self.bands], mean[:, :, self.bands :]
        floor = (_FLOOR * loud.amax(dim=(1, 2), keepdim=True)).clamp(min=_TINY)
        ratios: Tensor = fast / (loud + floor).repeat_interleave(len(MODULATIONS_HZ), dim=2)
        return ratios


def modulus(signal: Tensor, filters: Tensor, stride: int) -> Tensor:
    """|signal ∗ wavelet| of [n, 1, T] → [n, wavelets, ⌈T / stride⌉]."""
    real, imaginary = same(signal, filters, stride).chunk(2, dim=1)
    return torch.sqrt(real * real + imaginary * imaginary)


def same(signal: Tensor, filters: Tensor, stride: int) -> Tensor:
    """Convolution of [n, 1, T] with zeros around: [n, filters, ⌈T / stride⌉]."""
    return nn.functional.conv1d(signal, filters, stride=stride, padding=filters.shape[2] // 2)


def first_centres(sample_rate: int) -> NDArray[np.float64]:
    """Hz of the first order's wavelets, `PER_OCTAVE` an octave."""
    octaves = np.log2(HIGHEST_SHARE * sample_rate / LOWEST_HZ)
    return np.asarray(LOWEST_HZ * 2 ** (np.arange(int(octaves * PER_OCTAVE) + 1) / PER_OCTAVE))


def morlets(centres: NDArray[np.float64], deviations: NDArray[np.float64], rate: float) -> NDArray[np.float32]:
    """float32 [2 · wavelets, 1, taps]: real parts, then imaginary ones; each without a mean, magnitudes sum to 1."""
    half = int(np.ceil(3 * deviations.max() * rate))
    time = np.arange(-half, half + 1) / rate
    shape = np.exp(-0.5 * (time / deviations[:, None]) ** 2)
    wave = np.exp(2j * np.pi * centres[:, None] * time)
    mean = (shape * wave).sum(axis=1, keepdims=True) / shape.sum(axis=1, keepdims=True)
    wavelet = shape * (wave - mean)
    wavelet /= np.abs(wavelet).sum(axis=1, keepdims=True)
    return np.concatenate([wavelet.real, wavelet.imag])[:, None].astype(np.float32)


def gaussian(deviation: float, rate: float) -> NDArray[np.float32]:
    """float32 [1, 1, taps] of sum 1."""
    half = int(np.ceil(3 * deviation * rate))
    shape = np.exp(-0.5 * (np.arange(-half, half + 1) / (deviation * rate)) ** 2)
    kernel: NDArray[np.float32] = (shape / shape.sum())[None, None].astype(np.float32)
    return kernel
