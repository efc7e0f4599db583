"""WAV files: PCM in, float32 samples of one channel at the asked rate out."""

from __future__ import annotations

import wave
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.errors import DataError

Samples = NDArray[np.float32]

_FULL_SCALE = {1: 2**7, 2: 2**15, 4: 2**31}
"""Bytes of a sample → what 1.0 is. 24-bit files are refused: numpy has no such integer."""


def read_wav(path: Path, sample_rate: int) -> Samples:
    """float32 [T] from -1 to 1 at `sample_rate` Hz; other rates are resampled by a polyphase filter.

    Raises DataError naming the file: not a PCM WAV, cut off, empty, of 24 bits, or of more than one channel (a mean
    of channels may cancel what was said, so mixing down is left to whoever knows the recording).
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, frames = file.getparams()[:4]
            data = file.readframes(frames)
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(f"{path.name}: cannot be read as a WAV file: {error or 'it ends too early'}") from error
    if channels != 1:
        raise DataError(f"{path.name}: has {channels} channels, expected 1: mix it down first")
    if width not in _FULL_SCALE:
        raise DataError(f"{path.name}: has {8 * width}-bit samples, expected 8, 16 or 32 bits")
    if not frames or len(data) != frames * width:
        raise DataError(f"{path.name}: holds {len(data)} bytes of samples, its header says {frames * width}")
    return resampled(as_float(data, width), rate, sample_rate)


def as_float(data: bytes, width: int) -> Samples:
    """float32 [T] from -1 to 1 of little-endian PCM; samples of one byte are unsigned, as WAV has it."""
    if width == 1:
        return ((np.frombuffer(data, dtype=np.uint8).astype(np.float32) - 128) / _FULL_SCALE[1]).astype(np.float32)
    whole = np.frombuffer(data, dtype=f"<i{width}")
    return (whole / _FULL_SCALE[width]).astype(np.float32)


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    """The same sound at `wanted` Hz. The filter's overshoot is cut to -1 … 1."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    found: Samples = resample_poly(samples, wanted // common, rate // common).clip(-1, 1).astype(np.float32)
    return found
