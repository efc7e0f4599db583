"""Recordings in memory: read from an npz file of many, padded to rows of one length."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.errors import DataError
from exporter.speech.wav import Samples, resampled

_INT16 = 2.0**15
_ARRAYS = ("audio", "offsets", "labels", "sample_rate")


@dataclass(frozen=True)
class Clip:
    """One recording: where it comes from, its samples, its label as text, whether it is a test recording."""

    source: str
    samples: Samples
    label: str
    test: bool


def stored_clips(path: Path, sample_rate: int, *, test: bool) -> list[Clip]:
    """The clips of an npz file at `sample_rate` Hz: clip i is `audio[offsets[i]:offsets[i + 1]]`, int16.

    Raises DataError naming the file, and the row where there is one.
    """
    arrays = _arrays(path)
    audio, offsets = arrays["audio"], arrays["offsets"]
    rate = int(arrays["sample_rate"])
    clips = []
    for row, label in enumerate(arrays["labels"].tolist()):
        samples = (audio[offsets[row] : offsets[row + 1]] / _INT16).astype(np.float32)
        clips.append(Clip(f"{path.name}: row {row}", resampled(samples, rate, sample_rate), str(label), test))
    return clips


def padded(clips: Sequence[Samples], length: int = 0) -> Samples:
    """float32 [n, T] of the clips, each followed by zeros; T is the longest clip, or `length` where that is more."""
    rows = np.zeros((len(clips), max(length, *(len(clip) for clip in clips))), dtype=np.float32)
    for row, clip in zip(rows, clips, strict=True):
        row[: len(clip)] = clip
    return rows


def lengths(audio: NDArray[np.float32]) -> NDArray[np.int64]:
    """int64 [n]: samples of each row up to its last one that is not 0; at least 1."""
    sounding = audio != 0
    last = audio.shape[1] - sounding[:, ::-1].argmax(axis=1)
    return np.where(sounding.any(axis=1), last, 1).astype(np.int64)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name]) for name in _ARRAYS}
    except KeyError as error:
        raise DataError(f"{path.name}: {error.args[0]}, expected the arrays {', '.join(_ARRAYS)}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: cannot be read as an npz file: {error}") from error
    _check_stored(path, arrays)
    return arrays


def _check_stored(path: Path, arrays: Mapping[str, Array]) -> None:
    audio, offsets, labels = arrays["audio"], arrays["offsets"], arrays["labels"]
    if audio.dtype != np.int16 or audio.ndim != 1:
        raise DataError(f"{path.name}: audio is {audio.dtype} {list(audio.shape)}, expected int16 [samples]")
    if offsets.shape != (len(labels) + 1,):
        raise DataError(
            f"{path.name}: offsets has {offsets.shape[0]} values for {len(labels)} labels, expected one more"
        )
    steps = np.diff(offsets.astype(np.int64))
    if offsets[0] != 0 or offsets[-1] != len(audio) or (steps <= 0).any():
        row = int((steps <= 0).argmax()) if (steps <= 0).any() else len(labels)
        raise DataError(f"{path.name}: offsets do not cut {len(audio)} samples into clips, at row {row}")
