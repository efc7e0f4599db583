"""Folders of image files: one folder per class, or such folders below `train` and `test`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from exporter.data.dataset import Dataset
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from exporter.images.rows import Bytes, Index, Mode, RowLimit, Shelf, dataset_of, decoded

SUFFIXES = (".png", ".jpg", ".jpeg")


class ImageFolder(Source, frozen=True, kw_only=True, tag="images"):
    """PNG and JPEG files by class; every image is scaled to one size, as the server scales what clients send."""

    domain: ClassVar[Domain] = "image"

    size: Annotated[int, Meta(ge=8, le=1024)] = 32
    """Side in pixels; members train on size × size, whatever the files have."""
    mode: Mode = "RGB"
    """L: grey."""
    train_rows: RowLimit = None
    """Most images outside of `test`, in the classes' proportion, first by name."""
    test_rows: RowLimit = None

    def load(self, folder: Path | None) -> Dataset:
        """All images. Raises DataError naming the file that is damaged or the folder that holds no class.

        With `on_bad_rows = "drop"` damaged files are left out.
        """
        if folder is None or not folder.is_dir():
            raise DataError(f"--data is {folder and str(folder)!r}, expected a folder of images")
        split = (folder / "train").is_dir()
        classes = _classes(folder / "train" if split else folder)
        train = self._shelf(folder / "train" if split else folder, classes)
        test = self._shelf(folder / "test", classes) if split and (folder / "test").is_dir() else None
        return dataset_of(train, test, classes, (self.train_rows, self.test_rows))

    def _shelf(self, folder: Path, classes: Sequence[str]) -> Shelf:
        if strange := sorted(set(_folders(folder)) - set(classes)):
            raise DataError(f"{folder}: class {strange[0]!r} is not among the classes to train, {', '.join(classes)}")
        files = [(path, label) for label, name in enumerate(classes) for path in _files(folder / name)]
        if self.on_bad_rows == "drop":
            files = [(path, label) for path, label in files if self._is_whole(path)]
        labels = np.array([label for _, label in files], dtype=np.int64)

        def read(index: Index) -> Bytes:
            return np.stack([self._image(files[place][0]) for place in index])

        return Shelf(labels, read)

    def _image(self, path: Path) -> Bytes:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        return decoded(data, self.mode, (self.size, self.size), str(path))

    def _is_whole(self, path: Path) -> bool:
        try:
            self._image(path)
        except DataError:
            return False
        return True


def _classes(folder: Path) -> list[str]:
    found = _folders(folder)
    if len(found) < 2:
        told = f"one class, {found[0]!r}" if found else "no folder"
        raise DataError(f"{folder}: has {told}, expected a folder for each of two or more classes")
    return found


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _files(folder: Path) -> Iterator[Path]:
    """The folder's images by name. Raises DataError where there is none, or a file is something else."""
    found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".")) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder}: holds no image, expected at least one of class {folder.name!r}")
    for path in found:
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: is no {' or '.join(SUFFIXES)}")
        yield path
