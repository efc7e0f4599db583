"""Golden rows: inputs with the exporter's own answers, which this machine must reproduce before it serves."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_repo import Input, Manifest
from server.errors import LoadError
from server.runtime.datatypes import NUMPY_TYPES, Array
from server.runtime.side_model import SCORE

MAX_GOLDEN_BYTES = 256 * 2**20
"""Of all arrays, unpacked. A few hundred rows are enough; a zip of 1 MB can hold a GB of zeros."""
INPUT_PREFIX = "input:"
EXTRA_PREFIX = "extra:"


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """`feeds` by ensemble input; `members` float [n, K, C] calibrated and aligned; `fused` float [n, C].

    Of a dense ensemble the positions are before C.

    `beside` by output: `ood_score` where there are detectors, and every extra.
    """

    feeds: dict[str, Array]
    members: NDArray[np.floating]
    fused: NDArray[np.floating]
    beside: dict[str, Array] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """n."""
        return len(self.fused)


def read(data: bytes, manifest: Manifest) -> GoldenRows:
    """The golden rows in the bytes of an `.npz`, checked against the manifest.

    Raises LoadError 'golden' listing what is missing or of the wrong shape or datatype. Sizes are checked before
    anything is unpacked, and nothing is unpickled.
    """
    arrays = _unpacked(data, manifest.golden.file)
    found: list[str] = []
    n, K, at = manifest.golden.rows, len(manifest.members), manifest.positions
    feeds = {entry.name: _feed(entry, arrays, n, found) for entry in manifest.inputs}
    members = _answers("members", arrays, (n, K, *at, manifest.columns), found)
    fused = _answers("fused", arrays, (n, *at, manifest.fused_columns), found)
    beside = _beside(arrays, manifest, found)
    expected = {INPUT_PREFIX + entry.name for entry in manifest.inputs} | {"members", "fused"}
    expected |= {EXTRA_PREFIX + extra.name for extra in manifest.extras} | ({SCORE} if manifest.detectors else set())
    found += [f"has an array {name!r} that nothing uses" for name in arrays if name not in expected]
    if found:
        raise LoadError("golden", f"{manifest.golden.file}: " + "; ".join(found))
    return GoldenRows(feeds, members, fused, beside)


def tiled(feeds: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """`feeds` repeated or cut to `rows` rows."""
    return {name: array[np.arange(rows) % len(array)] for name, array in feeds.items()}


def _beside(arrays: Mapping[str, Array], manifest: Manifest, found: list[str]) -> dict[str, Array]:
    """`ood_score` and the extras, as far as the manifest has them."""
    rows = manifest.golden.rows
    beside: dict[str, Array] = {SCORE: _answers(SCORE, arrays, (rows,), found)} if manifest.detectors else {}
    for extra in manifest.extras:
        declared = Input(name=extra.name, datatype=extra.datatype, shape=extra.shape)
        beside[extra.name] = _feed(declared, arrays, rows, found, EXTRA_PREFIX)
    return beside


def _feed(entry: Input, arrays: Mapping[str, Array], rows: int, found: list[str], prefix: str = INPUT_PREFIX) -> Array:
    name = prefix + entry.name
    array = arrays.get(name)
    if array is None:
        found.append(f"lacks {name!r}")
        return np.zeros(0)
    if entry.datatype == "BYTES":
        return _shaped(name, _strings(name, array, found), (rows, *entry.shape[1:]), found)
    expected = np.dtype(NUMPY_TYPES[entry.datatype])
    if array.dtype != expected:
        found.append(f"{name!r} is {array.dtype}, expected {expected}")
    return _shaped(name, array, (rows, *entry.shape[1:]), found)


def _answers(name: str, arrays: Mapping[str, Array], shape: Sequence[int], found: list[str]) -> NDArray[np.floating]:
    array = arrays.get(name)
    if array is None:
        found.append(f"lacks {name!r}")
        return np.zeros([max(0, size) for size in shape])
    if array.dtype.kind != "f":
        found.append(f"{name!r} is {array.dtype}, expected float32")
    return _shaped(name, array, shape, found)


def _shaped(name: str, array: Array, shape: Sequence[int], found: list[str]) -> Array:
    fits = array.ndim == len(shape) and all(
        wanted in (-1, given) for given, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        found.append(f"{name!r} is {list(array.shape)}, expected {list(shape)}")
    return array


def _strings(name: str, array: Array, found: list[str]) -> Array:
    """Strings as object arrays of `str`, from numpy's unicode or UTF-8 bytes."""
    if array.dtype.kind not in "US":
        found.append(f"{name!r} is {array.dtype}, expected strings")
        return array
    try:
        return (array if array.dtype.kind == "U" else np.char.decode(array, "utf-8")).astype(np.object_)
    except UnicodeDecodeError:
        found.append(f"{name!r} is not UTF-8")
        return array


def _unpacked(data: bytes, file: str) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if total > MAX_GOLDEN_BYTES:
                raise LoadError("golden", f"{file} unpacks to {total} bytes, the limit is {MAX_GOLDEN_BYTES}")
            return {
                entry.filename.removesuffix(".npy"): _array(archive.read(entry), file, entry.filename)
                for entry in entries
            }
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise LoadError("golden", f"{file} is no readable .npz: {error}") from error


def _array(data: bytes, file: str, name: str) -> Array:
    try:
        _check_header(data)
        array: Array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, TypeError, SyntaxError, EOFError) as error:
        raise LoadError("golden", f"{file}: {name} is no readable array: {error}") from error
    return array


def _check_header(data: bytes) -> None:
    """Raise ValueError unless the array's header promises exactly the bytes there are: numpy allocates by it."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    size = dtype.itemsize
    for length in shape:
        size *= length
    left = len(data) - stream.tell()
    if dtype.hasobject or size != left:
        raise ValueError(f"its header promises {list(shape)} of {dtype}, {left} bytes follow")
