"""Small images with something to learn: a bright bar across, a bright bar down, a square; in colour or grey."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Dataset
from exporter.images.rows import Bytes, Shelf, dataset_of

CLASSES = ("across", "down", "square")


def drawn(rows: int, side: int = 32, colour: bool = True, seed: int = 0) -> tuple[Bytes, NDArray[np.int64]]:
    """Images uint8 [n, side, side(, 3)] of noise with one shape each, and their classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % 3
    images = random.integers(0, 90, (rows, side, side, 3), dtype=np.uint8)
    size = side // 4
    for image, label in zip(images, labels, strict=True):
        top, left = random.integers(0, side - size, 2)
        down = slice(None) if label == 1 else slice(top, top + size)
        across = slice(None) if label == 0 else slice(left, left + size)
        image[down, across] += random.integers(90, 160, 3, dtype=np.uint8)
    return (images if colour else images[..., 0]), labels


def dataset(rows: int, side: int = 32, colour: bool = True, tested: int = 30) -> Dataset:
    """A data set of them with `tested` test rows."""
    images, labels = drawn(rows + tested, side, colour)
    train = Shelf(labels[:rows], lambda index: images[:rows][index])
    test = Shelf(labels[rows:], lambda index: images[rows:][index])
    return dataset_of(train, test, CLASSES, (None, None))
