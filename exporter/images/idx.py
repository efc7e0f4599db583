"""The IDX format of MNIST and its relatives: a header of sizes, then bytes; often gzipped."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from exporter.data.dataset import Dataset
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from exporter.images.rows import Bytes, RowLimit, Shelf, dataset_of

_UNSIGNED_BYTE = 8
_MOST_BYTES = 2**31
"""Of one file unpacked."""


class Idx(Source, frozen=True, kw_only=True, tag="idx"):
    """Grey images and labels in IDX files: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-…`, or .gz."""

    domain: ClassVar[Domain] = "image"

    train: str = "train"
    """What the names of the training files start with."""
    test: str = "t10k"
    """And of the test files; where there are none, rows to test are split off."""
    classes: tuple[str, ...] = ()
    """Names in the order of the labels; none: the labels themselves, from 0."""
    train_rows: RowLimit = None
    """Most rows to train, fuse and choose on; the first of each class, in proportion."""
    test_rows: RowLimit = None

    def load(self, folder: Path | None) -> Dataset:
        """All rows. Raises DataError naming the file."""
        if folder is None or not folder.is_dir():
            raise DataError(f"--data is {folder and str(folder)!r}, expected a folder of IDX files")
        train = self._part(folder, self.train)
        there = any(folder.glob(f"{self.test}-images*"))
        test = self._part(folder, self.test) if there else None
        highest = max(int(shelf.labels.max()) for shelf in (train, test) if shelf is not None)
        classes = self.classes or tuple(str(label) for label in range(highest + 1))
        if highest >= len(classes):
            raise DataError(f"{folder}: there is a label {highest}, {len(classes)} classes are named")
        return dataset_of(train, test, classes, (self.train_rows, self.test_rows))

    def _part(self, folder: Path, prefix: str) -> Shelf:
        image_file, label_file = _found(folder, f"{prefix}-images"), _found(folder, f"{prefix}-labels")
        images, labels = read_idx(image_file), read_idx(label_file)
        if images.ndim != 3 or labels.ndim != 1:
            raise DataError(f"{image_file} and {label_file.name} have {images.ndim} and {labels.ndim} dimensions, "
                            "expected images [n, h, w] and labels [n]")  # fmt: skip
        if len(images) != len(labels) or not len(labels):
            raise DataError(f"{image_file} has {len(images)} images, {label_file.name} {len(labels)} labels")
        return Shelf(labels.astype(np.int64), lambda index: images[index])


def read_idx(path: Path) -> Bytes:
    """The array of unsigned bytes in an IDX file. Raises DataError where it is something else or cut off."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"{path}: has more than {_MOST_BYTES} bytes")
    dimensions = data[3] if len(data) >= 4 else 0
    start = 4 + 4 * dimensions
    if data[:2] != b"\0\0" or len(data) < start or not dimensions:
        raise DataError(f"{path}: is no IDX file")
    if data[2] != _UNSIGNED_BYTE:
        raise DataError(f"{path}: has elements of type {data[2]}, expected {_UNSIGNED_BYTE}, unsigned bytes")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    size = int(np.prod(shape, dtype=np.object_))
    if size != len(data) - start:
        raise DataError(f"{path}: has {len(data) - start} bytes of data, {' × '.join(map(str, shape))} are {size}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _found(folder: Path, start: str) -> Path:
    files = sorted(folder.glob(f"{start}*"))
    if len(files) != 1:
        told = "no file" if not files else " and ".join(file.name for file in files)
        raise DataError(f"{folder}: has {told} for {start}…, expected one")
    return files[0]
