"""Images as rows: bytes as they are decoded, one input that clients may also fill with a PNG or JPEG."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from exporter.data.dataset import FREE, TEST, Dataset, Rows
from exporter.data.splits import allocate
from exporter.errors import DataError
from model_repo import ImageInput, Input

INPUT = "image"
Mode = Literal["RGB", "L"]
Bytes = NDArray[np.uint8]
Index = NDArray[np.int64]
RowLimit = Annotated[int, Meta(ge=2)] | None

FORMATS = ("PNG", "JPEG")
"""What the server decodes; a format that it cannot answer for is not trained on either."""
MAX_PIXELS = 50_000_000
"""Of one image, checked in its header before it is decoded: 150 MB."""


@dataclass(frozen=True)
class Shelf:
    """Images that are not all in memory: `labels` int64 [n], and what reads those at ascending places.

    `read` gives uint8 [m, h, w] or [m, h, w, 3].
    """

    labels: Index
    read: Callable[[Index], Bytes]


def dataset_of(train: Shelf, test: Shelf | None, classes: Sequence[str], limits: tuple[RowLimit, RowLimit]) -> Dataset:
    """The shelves' images as one data set with a test part; `limits` are the most rows of each.

    The input is UINT8, channels last: what every decoder gives and every client has. A row has a quarter of the bytes
    of float32 on the wire and in memory, any value is in range, and the members' graphs scale it themselves.
    Raises DataError where there are fewer than two classes.
    """
    if len(classes) < 2:
        raise DataError(f"there is one class, {classes[0]!r}" if classes else "there are no classes")
    pixels, labels, parts = [], [], []
    for shelf, limit, part in ((train, limits[0], FREE), (test, limits[1], TEST)):
        if shelf is None:
            continue
        index = limited(shelf.labels, limit, len(classes))
        pixels.append(shelf.read(index))
        labels.append(shelf.labels[index])
        parts.append(np.full(len(index), part, dtype=np.int8))
    images = np.concatenate(pixels)
    return Dataset(
        rows=Rows.of({INPUT: images}, np.concatenate(labels), np.concatenate(parts)),
        classes=tuple(classes),
        inputs=(image_input(images.shape[1:]),),
        edges={INPUT: edges(images.shape[1:])},
    )


def image_input(shape: Sequence[int]) -> Input:
    """The declaration of images uint8 [h, w] or [h, w, 3]."""
    height, width = shape[:2]
    colour = len(shape) == 3
    image = ImageInput(mode="RGB" if colour else "L", width=width, height=height, layout="HWC" if colour else "HW")
    return Input(name=INPUT, datatype="UINT8", shape=(-1, *shape), image=image)


def edges(shape: Sequence[int]) -> Bytes:
    """Black, white, grey, a chessboard, one lit pixel and noise: rows unlike any photograph."""
    flat = [np.full(shape, value, dtype=np.uint8) for value in (0, 255, 128)]
    board = np.indices(shape[:2]).sum(axis=0) % 2 * 255
    board = np.broadcast_to(board.reshape(*shape[:2], *[1] * (len(shape) - 2)), shape).astype(np.uint8)
    pixel = np.zeros(shape, dtype=np.uint8)
    pixel[shape[0] // 2, shape[1] // 2] = 255
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return np.stack([*flat, board, pixel, noise])


def limited(labels: Index, limit: RowLimit, classes: int) -> Index:
    """Places of at most `limit` rows, ascending: the first of each class, in the classes' proportion."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    places = [np.flatnonzero(labels == label) for label in range(classes)]
    counts = allocate([len(found) for found in places], limit, "limited")
    return np.sort(np.concatenate([found[:count] for found, count in zip(places, counts, strict=True)]))


def decoded(data: bytes, mode: Mode, size: tuple[int, int] | None, subject: str) -> Bytes:
    """A PNG or JPEG as uint8 [h, w] or [h, w, 3], just as the server decodes a body: upright, without alpha,
    16-bit greys by their upper 8 bits, resized (bicubic) to `size`, which is (width, height).

    Raises DataError naming `subject`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, subject)
            image.load()
            upright = ImageOps.exif_transpose(image) or image
            if upright.mode.startswith("I"):
                upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
            converted = upright if upright.mode == mode else upright.convert(mode)
            if size is not None and converted.size != size:
                converted = converted.resize(size, Image.Resampling.BICUBIC)
            return np.asarray(converted)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{subject}: is no PNG or JPEG image") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files; none of them is ours
        raise DataError(f"{subject}: the image is damaged: {' '.join(str(error).split())}") from error


def _check_size(image: Image.Image, subject: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{subject}: {image.width} × {image.height} pixels, at most {MAX_PIXELS} are taken")
