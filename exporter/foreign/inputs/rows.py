"""Rows for an ensemble of the user's own models: read from a file or drawn."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from exporter.errors import BundleError
from exporter.foreign.model_file import NOT_FINITE, NOT_RUN, ModelFile, ModelFileError
from model_repo import Input
from model_repo.wording import reason
from server.runtime.datatypes import NUMPY_TYPES, Array

ROWS = 16
"""Rows drawn where none are given: enough for a batch of several and cheap enough for every start."""
VARIABLE_LENGTH = 8
"""Length drawn for a dimension that varies."""
LENGTHS = (8, 32, 64, 224, 512, 16_000)
"""Tried in turn for dimensions that vary: a token or two, small and usual pictures, texts, a second of sound."""
MOST_VALUES = 16 * 2**20
"""Numbers of all drawn rows together: 64 MiB of floats."""
WORDS = ("tutti", "forte", "piano", "allegro", "andante", "presto", "largo", "")


def drawn(
    inputs: Sequence[Input], rows: int = ROWS, seed: int = 0, *, length: int = VARIABLE_LENGTH, plain: bool = False
) -> dict[str, Array]:
    """Seeded rows for each input: normal floats, 0 or 1 for integers (a valid index of any table), bytes, words.

    `length` is that of dimensions that vary. `plain`: floats from 0 to 1, and ones, which more models take. Fewer rows
    where they are large, at least 2.
    """
    random = np.random.default_rng(seed)
    shapes = {entry.name: [length if size == -1 else size for size in entry.shape[1:]] for entry in inputs}
    values = sum(math.prod(shape) for shape in shapes.values())
    rows = max(2, min(rows, MOST_VALUES // max(values, 1)))
    feeds: dict[str, Array] = {}
    for entry in inputs:
        shape = [rows, *shapes[entry.name]]
        dtype = NUMPY_TYPES[entry.datatype]
        if entry.datatype == "BYTES":
            feeds[entry.name] = random.choice(WORDS, shape).astype(np.object_)
        elif entry.datatype.startswith("FP"):
            feeds[entry.name] = (random.random(shape) if plain else random.standard_normal(shape)).astype(dtype)
        elif entry.datatype == "UINT8" and len(shape) > 2:
            feeds[entry.name] = random.integers(0, 256, shape).astype(dtype)
        else:
            feeds[entry.name] = (np.ones(shape) if plain else random.integers(0, 2, shape)).astype(dtype)
    return feeds


Make = Callable[[dict[str, Array]], dict[str, Array]]


def runnable(
    inputs: Sequence[Input], files: Sequence[ModelFile], other: Make = dict, fed: Make = dict
) -> dict[str, Array]:
    """Drawn rows that all members run on and give numbers for: with longer dimensions where these vary, or plainer.

    `other` puts rows of another make in the place of drawn ones, `fed` makes of rows what the members take.

    Where there are none, rows that are answered with NaN, or not at all: `with_hint` says so of what comes of them.
    """
    varying = any(-1 in entry.shape[1:] for entry in inputs)
    ran: dict[str, Array] | None = None
    for length in LENGTHS if varying else LENGTHS[:1]:
        for plain in (False, True):
            feeds = other(drawn(inputs, length=length, plain=plain))
            try:
                taken = fed(feeds)
                finite = [_finite(file, taken) for file in files]
            except ModelFileError:
                continue
            if all(finite):
                return feeds
            ran = ran or feeds
    return ran or other(drawn(inputs))


def with_hint(error: BundleError, inputs: Sequence[Input]) -> BundleError:
    """The error, with the way out where members do not run on drawn rows."""
    names = ", ".join(f"{entry.name} [n, …]" for entry in inputs)
    hint = f"; the rows were drawn: give some that it takes with --golden FILE.npz, arrays {names}"
    return BundleError(
        error.subject, [f"{each}{hint if NOT_RUN in each or NOT_FINITE in each else ''}" for each in error.problems]
    )


def _finite(file: ModelFile, feeds: Mapping[str, Array]) -> bool:
    """Whether every output of floats is finite. Raises ModelFileError where it does not run."""
    for entry in file.session.outputs:
        if not entry.type.startswith("tensor("):
            continue
        found = file.run(entry.name, feeds)
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            return False
    return True


def _unread(error: Exception) -> str:
    """Why a file gives no rows; numpy takes whatever it does not know for a pickle, and advises to trust it."""
    if isinstance(error, ValueError):
        return "is no .npz of plain arrays, expected what numpy.savez writes"
    return f"cannot be read as .npz: {reason(error)}"


def read(path: Path, inputs: Sequence[Input]) -> dict[str, Array]:
    """Rows from an .npz with one array for each input, called as it or `input:<name>`.

    Raises BundleError with everything that does not fit the inputs.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            # A version's own golden.npz has its answers beside them, so there the prefix says what is meant.
            meant = [name for name in archive.files if name.startswith("input:")] or archive.files
            arrays = {name.removeprefix("input:"): archive[name] for name in meant}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise BundleError(f"golden rows '{path}'", [_unread(error)]) from error
    wrong = [sentence for entry in inputs for sentence in _misfits(entry, arrays.get(entry.name), sorted(arrays))]
    if more := sorted(arrays.keys() - {entry.name for entry in inputs}):
        taken = ", ".join(entry.name for entry in inputs)
        wrong.append(f"has {', '.join(more)}, which no input takes; the inputs are {taken}")
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
