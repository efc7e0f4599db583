"""Words made of tones: word k is a low tone and then a higher one, both by k."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Rows
from exporter.speech.clips import padded

RATE = 8000
WORDS = ("zero", "one", "two")


def word(k: int, seed: int) -> NDArray[np.float32]:
    """float32 [T] of about 0.2 s; pitch, length, level and noise are the seed's."""
    rng = np.random.default_rng([k, seed])
    parts = []
    for hertz in (300 + 250 * k, 2600 - 500 * k):
        time = np.arange(int(RATE * rng.uniform(0.08, 0.12))) / RATE
        parts.append(np.sin(2 * np.pi * hertz * rng.uniform(0.97, 1.03) * time) * np.hanning(len(time)))
    sound = np.concatenate(parts) * rng.uniform(0.05, 0.9)
    return (sound + rng.normal(size=len(sound)) * 1e-4).clip(-1, 1).astype(np.float32)


def rows(count: int) -> Rows:
    """`count` clips of each word."""
    clips = [word(k, seed) for seed in range(count) for k in range(len(WORDS))]
    return Rows.of({"audio": padded(clips)}, np.tile(np.arange(len(WORDS)), count))


def write(path: Path, samples: NDArray[np.float32], rate: int = RATE, channels: int = 1, width: int = 2) -> Path:
    """A PCM WAV file of the samples; with two channels both are the same."""
    scale = {1: 127, 2: 32767, 4: 2**31 - 1}[width]
    whole = np.repeat(np.round(samples.astype(np.float64) * scale), channels)
    data = (whole + 128).astype(np.uint8) if width == 1 else whole.astype(f"<i{width}")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data.tobytes())
    return path


def write_folder(folder: Path, recordings: int) -> Path:
    """`recordings` of each word by one speaker, named as the source expects."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(WORDS):
        for index in range(recordings):
            write(folder / f"{name}_tone_{index}.wav", word(k, index))
    return folder
