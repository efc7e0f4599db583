"""CIFAR-10 in the forms it comes in: Python batches, binary batches, and compact .npz files with or without JPEG.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from exporter.data.dataset import Dataset
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from exporter.images.cifar_files import CLASSES, binary_batch, compact_file, meta_names, python_batch
from exporter.images.rows import Bytes, Index, RowLimit, Shelf, dataset_of

Read = Callable[[Path], Shelf]
_FORMS: tuple[tuple[str, str, Read], ...] = (
    ("data_batch_[1-9]", "test_batch", python_batch),
    ("data_batch_[1-9].bin", "test_batch.bin", binary_batch),
    ("train*.npz", "test*.npz", compact_file),
)
"""Files to train on, files to test on, and what reads one."""


class Cifar10(Source, frozen=True, kw_only=True, tag="cifar10"):
    """CIFAR-10: colour photographs of 32 × 32 in ten classes; the test files are the test rows."""

    domain: ClassVar[Domain] = "image"

    train_rows: RowLimit = None
    """Most rows to train, fuse and choose on; the first of each class, in proportion. JPEGs beyond are not decoded."""
    test_rows: RowLimit = None

    def load(self, folder: Path | None) -> Dataset:
        """All rows. Raises DataError naming the file, and the row in it."""
        if folder is None or not folder.is_dir():
            raise DataError(f"--data is {folder and str(folder)!r}, expected the folder of CIFAR-10's batches")
        for place in (folder, folder / "cifar-10-batches-py", folder / "cifar-10-batches-bin"):
            for train, test, read in _FORMS:
                if files := sorted(place.glob(train)):
                    return self._loaded(place, files, sorted(place.glob(test)), read)
        raise DataError(f"{folder}: has none of {', '.join(form[0] for form in _FORMS)}")

    def _loaded(self, folder: Path, train: Sequence[Path], test: Sequence[Path], read: Read) -> Dataset:
        if not test:
            raise DataError(f"{folder}: has {train[0].name} but no test file")
        classes = meta_names(folder) or CLASSES
        shelves = [joined([read(file) for file in files]) for files in (train, test)]
        return dataset_of(shelves[0], shelves[1], classes, (self.train_rows, self.test_rows))


def joined(shelves: Sequence[Shelf]) -> Shelf:
    """Several shelves as one; places count through them."""
    starts = np.cumsum([0, *(len(shelf.labels) for shelf in shelves)])

    def read(index: Index) -> Bytes:
        bounds = np.searchsorted(index, starts)
        parts = [
            shelf.read(index[low:high] - start)
            for shelf, start, low, high in zip(shelves, starts, bounds, bounds[1:], strict=False)
            if high > low
        ]
        return np.concatenate(parts)

    return Shelf(np.concatenate([shelf.labels for shelf in shelves]), read)
