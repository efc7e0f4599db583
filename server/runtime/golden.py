"""Golden rows: inputs with the exporter's own answers, which this machine must reproduce before it serves."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_repo import Input, Manifest
from server.errors import LoadError
from server.runtime.datatypes import NUMPY_TYPES, Array, Floats
from server.runtime.prediction import FUSION

MAX_GOLDEN_BYTES = 256 * 2**20
"""Of all arrays, unpacked. A few hundred rows are enough; a zip of 1 MB can hold a GB of zeros."""
INPUT_PREFIX = "input:"


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """`feeds` by ensemble input; `members` float [n, K, C] calibrated and aligned; `fused` float [n, C]."""

    feeds: dict[str, Array]
    members: NDArray[np.floating]
    fused: NDArray[np.floating]

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
    n, K, C = manifest.golden.rows, len(manifest.members), manifest.columns
    feeds = {entry.name: _feed(entry, arrays, n, found) for entry in manifest.inputs}
    members = _answers("members", arrays, (n, K, C), found)
    fused = _answers("fused", arrays, (n, C), found)
    expected = {INPUT_PREFIX + entry.name for entry in manifest.inputs} | {"members", "fused"}
    found += [f"has an array {name!r} that nothing uses" for name in arrays if name not in expected]
    if found:
        raise LoadError("golden", f"{manifest.golden.file}: " + "; ".join(found))
    return GoldenRows(feeds, members, fused)


def tiled(feeds: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """`feeds` repeated or cut to `rows` rows."""
    return {name: array[np.arange(rows) % len(array)] for name, array in feeds.items()}


def compare(manifest: Manifest, golden: GoldenRows, members: Array, fused: Array, silent: Mapping[str, str]) -> None:
    """Raise LoadError 'golden' unless this machine's answers are the stored ones within the manifest's `atol`.

    Members are compared first, so that one of them is blamed; the message names the worst row, the values there,
    their difference and the tolerance. A NaN equals a NaN: a member that gave none to the exporter either.
    `silent` says of a member (or `(fusion)`) why it left rows out.
    """
    for k, member in enumerate(manifest.members):
        _compare(f"member {member.name!r}", members[:, k], golden.members[:, k], manifest, silent.get(member.name))
    _compare("the fused answer", fused, golden.fused, manifest, silent.get(FUSION))


def _compare(subject: str, given: Array, stored: Array, manifest: Manifest, silence: str | None) -> None:
    atol, classes = manifest.golden.atol, manifest.classes
    difference = _difference(given.astype(np.float64), stored.astype(np.float64))
    if not (difference > atol).any():
        return
    row, column = (int(place) for place in np.unravel_index(int(difference.argmax()), difference.shape))
    where = f"golden row {row}" + (f", {classes[column]!r}" if classes else "")
    if np.isnan(given[row, column]):
        reason = f": {silence}" if silence else ""
        raise LoadError("golden", f"{subject} gives no answer to {where}{reason}")
    count = int((difference > atol).any(axis=1).sum())
    raise LoadError(
        "golden",
        f"{subject} does not reproduce {where}: gives {given[row, column]:.9g}, "
        f"stored is {stored[row, column]:.9g}, difference {difference[row, column]:.3g}, tolerance {atol:g} "
        f"({count} of {len(difference)} rows differ){f': {silence}' if silence else ''}",
    )


def _difference(given: Floats, stored: Floats) -> Floats:
    """|given − stored|, 0 where both are NaN, infinite where one is."""
    with np.errstate(invalid="ignore"):
        difference: Floats = np.abs(given - stored)
    difference[np.isnan(difference)] = np.inf
    difference[(np.isnan(given) & np.isnan(stored)) | (given == stored)] = 0.0
    return difference


def _feed(entry: Input, arrays: Mapping[str, Array], rows: int, found: list[str]) -> Array:
    name = INPUT_PREFIX + entry.name
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
        return np.zeros(shape)
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
