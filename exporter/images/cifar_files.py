"""One file of CIFAR-10 each: a Python batch (read without running it), a binary batch, a compact .npz."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from exporter.data.plain_pickle import PickleError, PlainArray, load_plain
from exporter.errors import DataError
from exporter.images.rows import Bytes, Index, Shelf, decoded

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
PIXELS = 3 * SIDE * SIDE
_ROW = 1 + PIXELS
"""Of the binary form: the label, then red, green and blue, row by row."""


def python_batch(path: Path) -> Shelf:
    """A pickled dictionary with `data` uint8 [n, 3072] and `labels`. Raises DataError."""
    table = _plain(path)
    data, labels = table.get(b"data"), table.get(b"labels")
    if not isinstance(data, PlainArray) or not isinstance(labels, list):
        raise DataError(f"{path}: has {sorted(map(str, table))}, expected 'data' (an array) and 'labels' (a list)")
    try:
        flat = data.array()
    except PickleError as error:
        raise DataError(f"{path}: {error}") from error
    if flat.dtype != np.uint8 or flat.ndim != 2 or flat.shape[1] != PIXELS:
        raise DataError(f"{path}: data is {flat.dtype} {list(flat.shape)}, expected uint8 [n, {PIXELS}]")
    return _shelf(_pixels(flat), labels, path)


def binary_batch(path: Path) -> Shelf:
    """Records of 3,073 bytes. Raises DataError."""
    data = np.frombuffer(_bytes(path), dtype=np.uint8)
    if not len(data) or len(data) % _ROW:
        raise DataError(f"{path}: has {len(data)} bytes, expected a multiple of {_ROW}")
    records = data.reshape(-1, _ROW)
    return _shelf(_pixels(records[:, 1:]), records[:, 0], path)


def compact_file(path: Path) -> Shelf:
    """An .npz with `labels` and either `images` uint8 [n, 32, 32, 3] or `jpeg` bytes cut by `offsets` [n + 1].

    Raises DataError.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: cannot be read as .npz: {error}") from error
    if "labels" not in found or not ({"images"} <= set(found) or {"jpeg", "offsets"} <= set(found)):
        raise DataError(f"{path}: has {sorted(found)}, expected labels and images, or labels, jpeg and offsets")
    names = tuple(str(name) for name in found.get("class_names", CLASSES))
    if names != CLASSES:
        raise DataError(f"{path}: its classes are {', '.join(names)}, expected {', '.join(CLASSES)}")
    if "images" in found:
        images = found["images"]
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
            raise DataError(f"{path}: images are {images.dtype} {list(images.shape)}, expected uint8 [n, 32, 32, 3]")
        return _shelf(images, found["labels"], path)
    return _jpeg_shelf(found["jpeg"], found["offsets"], found["labels"], path)


def meta_names(folder: Path) -> tuple[str, ...]:
    """The classes' names in `batches.meta` or `batches.meta.txt`; none where there is no such file."""
    if (path := folder / "batches.meta").is_file():
        names = _plain(path).get(b"label_names")
        if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
            raise DataError(f"{path}: has no list of label_names")
        return tuple(name.decode("utf-8", "replace") for name in names)
    if (path := folder / "batches.meta.txt").is_file():
        return tuple(_bytes(path).decode("utf-8", "replace").split())
    return ()


def _jpeg_shelf(jpeg: Bytes, offsets: Index, labels: Any, path: Path) -> Shelf:
    whole = offsets.ndim == 1 and len(offsets) > 1 and np.issubdtype(offsets.dtype, np.integer)
    if not whole or offsets[0] != 0 or offsets[-1] != len(jpeg) or (np.diff(offsets) <= 0).any():
        raise DataError(f"{path}: offsets do not cut its {len(jpeg)} JPEG bytes into images")

    def read(index: Index) -> Bytes:
        return np.stack([image(int(row)) for row in index])

    def image(row: int) -> Bytes:
        subject = f"{path}, row {row}"
        pixels = decoded(jpeg[offsets[row] : offsets[row + 1]].tobytes(), "RGB", None, subject)
        if pixels.shape != (SIDE, SIDE, 3):
            raise DataError(f"{subject}: is {pixels.shape[1]} × {pixels.shape[0]} pixels, expected {SIDE} × {SIDE}")
        return pixels

    return Shelf(_labels(labels, len(offsets) - 1, path), read)


def _shelf(images: Bytes, labels: Any, path: Path) -> Shelf:
    return Shelf(_labels(labels, len(images), path), lambda index: images[index])


def _labels(labels: Any, rows: int, path: Path) -> Index:
    """int64 [rows]. Raises DataError naming the first row whose label is none of the classes."""
    try:
        found = np.asarray(labels, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: labels are no whole numbers") from error
    if found.shape != (rows,):
        raise DataError(f"{path}: has {rows} images and {found.size} labels")
    wrong = np.flatnonzero((found < 0) | (found >= len(CLASSES)))
    if len(wrong):
        raise DataError(f"{path}, row {wrong[0]}: label {found[wrong[0]]}, expected 0 to {len(CLASSES) - 1}")
    return found


def _pixels(flat: Bytes) -> Bytes:
    """[n, 3072] plane by plane → [n, 32, 32, 3]."""
    return flat.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _plain(path: Path) -> dict[Any, Any]:
    try:
        table = load_plain(_bytes(path))
    except PickleError as error:
        raise DataError(f"{path}: {error}") from error
    if not isinstance(table, dict):
        raise DataError(f"{path}: holds {type(table).__name__}, expected a dictionary")
    return table


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
