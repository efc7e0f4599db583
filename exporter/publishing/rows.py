"""Rows for an ensemble of the user's own models: read from a file or drawn."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from exporter.errors import BundleError
from model_repo import Input
from server.runtime.datatypes import NUMPY_TYPES, Array

ROWS = 16
"""Rows drawn where none are given: enough for a batch of several and cheap enough for every start."""
VARIABLE_LENGTH = 8
"""Length drawn for a dimension that varies."""
WORDS = ("tutti", "forte", "piano", "allegro", "andante", "presto", "largo", "")


def drawn(inputs: Sequence[Input], rows: int = ROWS, seed: int = 0) -> dict[str, Array]:
    """Seeded rows for each input: standard normal floats, 0 or 1 for integers (a valid index of any table), words."""
    random = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for entry in inputs:
        shape = [rows, *(VARIABLE_LENGTH if size == -1 else size for size in entry.shape[1:])]
        if entry.datatype == "BYTES":
            feeds[entry.name] = random.choice(WORDS, shape).astype(np.object_)
        elif entry.datatype.startswith("FP"):
            feeds[entry.name] = random.standard_normal(shape).astype(NUMPY_TYPES[entry.datatype])
        else:
            feeds[entry.name] = random.integers(0, 2, shape).astype(NUMPY_TYPES[entry.datatype])
    return feeds


def read(path: Path, inputs: Sequence[Input]) -> dict[str, Array]:
    """Rows from an .npz with one array for each input, called as it or `input:<name>`.

    Raises BundleError with everything that does not fit the inputs.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name.removeprefix("input:"): archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise BundleError(f"golden rows '{path}'", [f"cannot be read as .npz: {error}"]) from error
    wrong = [sentence for entry in inputs for sentence in _misfits(entry, arrays.get(entry.name), sorted(arrays))]
    counts = {len(arrays[entry.name]) for entry in inputs} if not wrong else {1}
    if len(counts) > 1 or counts == {0}:
        wrong.append(f"its arrays have {sorted(counts)} rows, expected the same number, at least 1, in each")
    if wrong:
        raise BundleError(f"golden rows '{path}'", wrong)
    return {entry.name: _typed(entry, arrays[entry.name]) for entry in inputs}


def _misfits(entry: Input, array: Array | None, names: Sequence[str]) -> list[str]:
    if array is None:
        return [f"has no array for input '{entry.name}'; it has {', '.join(names) or 'none'}"]
    shape = entry.shape
    fits = array.ndim == len(shape) and all(s in (-1, size) for s, size in zip(shape, array.shape, strict=True))
    if not fits:
        return [f"array '{entry.name}' is {list(array.shape)}, the input is {['n', *shape[1:]]}".replace("'n'", "n")]
    if entry.datatype != "BYTES" and not np.can_cast(array.dtype, NUMPY_TYPES[entry.datatype], "same_kind"):
        return [f"array '{entry.name}' is {array.dtype}, the input is {entry.datatype}"]
    return []


def _typed(entry: Input, array: Array) -> Array:
    if entry.datatype == "BYTES":
        return array.astype(np.str_).astype(np.object_)
    return array.astype(NUMPY_TYPES[entry.datatype])
