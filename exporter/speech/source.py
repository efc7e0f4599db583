"""Spoken words: a folder of WAV files as the Free Spoken Digit Dataset names them, or its clips in npz files.

Z. Jackson et al.: Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset (CC BY-SA 4.0).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from exporter.data.dataset import FREE, TEST, Dataset, Rows
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from exporter.speech.clips import Clip, padded, stored_clips
from exporter.speech.wav import Samples, read_wav
from model_repo import Input

INPUT = "audio"
_NAME = re.compile(r"^(?P<label>[^_]+)_(?P<speaker>.+)_(?P<index>\d+)\.wav$", re.IGNORECASE)
_EDGE_SAMPLES = 4_000


class Speech(Source, frozen=True, kw_only=True, tag="speech"):
    """Clips of one word each. Clients send `audio`: float32 [n, T] from -1 to 1 at `sample_rate`, zeros behind."""

    domain: ClassVar[Domain] = "audio"

    labels: Annotated[tuple[str, ...], Meta(min_length=2)] = tuple("0123456789")
    """What may be said, in the order of the classes."""
    sample_rate: Annotated[int, Meta(ge=4000, le=48000)] = 8000
    """Hz; clips of another rate are resampled."""
    max_seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    """A longer clip is refused: rows are padded to the longest, and all of them are held in memory."""
    test_recordings: Annotated[int, Meta(ge=0)] = 5
    """Of each word and speaker the recordings below this index are the test rows (the data's own split); 0: none."""

    def load(self, folder: Path | None) -> Dataset:
        """All clips. Raises DataError naming the file that is broken, misnamed, too long, or of an unknown label."""
        if folder is None:
            raise DataError("--data is missing: expected a folder of WAV files named label_speaker_index.wav")
        clips = self._from_npz(folder) or self._from_wav(folder)
        for clip in clips:
            self._check(clip)
        said = {clip.label for clip in clips}
        if missing := [label for label in self.labels if label not in said]:
            raise DataError(f"{folder.name}: no clip of {', '.join(map(repr, missing))} among {len(clips)}")
        return self._dataset(clips)

    def _from_wav(self, folder: Path) -> list[Clip]:
        inner = folder / "recordings"  # where the public archive has them
        paths = sorted(path for path in (inner if inner.is_dir() else folder).glob("*") if _is_wav(path))
        if not paths:
            raise DataError(f"{folder.name}: holds no WAV files and no npz files, expected label_speaker_index.wav")
        return [self._clip(path) for path in paths]

    def _clip(self, path: Path) -> Clip:
        named = _NAME.match(path.name)
        if named is None:
            raise DataError(f"{path.name}: expected a name like label_speaker_index.wav, as 7_jackson_32.wav")
        test = int(named["index"]) < self.test_recordings
        return Clip(path.name, read_wav(path, self.sample_rate), named["label"], test)

    def _from_npz(self, folder: Path) -> list[Clip]:
        """Clips of train_*.npz and test_*.npz, which are the test rows; none where there are no such files."""
        found: list[Clip] = []
        for path in sorted([*folder.glob("train*.npz"), *folder.glob("test*.npz")]):
            found += stored_clips(path, self.sample_rate, test=path.name.startswith("test"))
        return found

    def _check(self, clip: Clip) -> None:
        if clip.label not in self.labels:
            raise DataError(f"{clip.source}: is labelled {clip.label!r}, expected one of {', '.join(self.labels)}")
        seconds = len(clip.samples) / self.sample_rate
        if seconds > self.max_seconds:
            raise DataError(f"{clip.source}: lasts {seconds:.2f} s, at most {self.max_seconds:g} s are taken")
        if not clip.samples.any():
            raise DataError(f"{clip.source}: is silent, every sample is 0")

    def _dataset(self, clips: Sequence[Clip]) -> Dataset:
        rank = {label: place for place, label in enumerate(self.labels)}
        # Not shorter than the edge rows, which are as long as all others.
        audio = padded([clip.samples for clip in clips], _EDGE_SAMPLES)
        return Dataset(
            rows=Rows.of(
                {INPUT: audio},
                np.array([rank[clip.label] for clip in clips], dtype=np.int64),
                np.array([TEST if clip.test else FREE for clip in clips], dtype=np.int8),
            ),
            classes=self.labels,
            inputs=(Input(name=INPUT, datatype="FP32", shape=(-1, -1)),),
            ranges={INPUT: (-1.0, 1.0)},
            edges={INPUT: padded(list(_edges(self.sample_rate)), audio.shape[1])},
            context={"sample_rate": np.array(self.sample_rate, dtype=np.int64)},
        )


def _is_wav(path: Path) -> bool:
    return path.suffix.lower() == ".wav" and not path.name.startswith(".")


def _edges(sample_rate: int) -> list[Samples]:
    """Silence, one sample, a constant, a full-scale square wave, the highest tone, a very faint one, and noise."""
    time = np.arange(_EDGE_SAMPLES) / sample_rate
    impulse = np.zeros(_EDGE_SAMPLES)
    impulse[_EDGE_SAMPLES // 2] = 1
    waves = [
        np.zeros(_EDGE_SAMPLES), impulse, np.ones(_EDGE_SAMPLES), np.sign(np.sin(2 * np.pi * 440 * time)),
        (-1.0) ** np.arange(_EDGE_SAMPLES), 1e-4 * np.sin(2 * np.pi * 440 * time),
        np.random.default_rng(0).uniform(-1, 1, _EDGE_SAMPLES),
    ]  # fmt: skip
    return [wave.astype(np.float32) for wave in waves]
