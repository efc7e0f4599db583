"""Batches padded to a few sizes, so that a device sees few shapes; what the padding gave is cut off again.

A new shape costs a GPU far more than rows that nobody asked for: kernels are chosen anew, memory is planned anew,
TensorRT builds a new engine and a CUDA graph is captured for one shape only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from server.runtime.datatypes import Array, Feeds


class Run(Protocol):
    """onnxruntime's own `run`: named outputs for feeds (ONNX input name → array), and options or None."""

    def __call__(self, outputs: list[str], feeds: Feeds, options: None, /) -> list[Array]:
        """The arrays of `outputs`, in their order; raises onnxruntime's errors."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The sizes that batches are padded to, in rows, ascending; empty stands for every power of two.

    ValueError unless the sizes are at least 1 and ascend.
    """

    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if any(low >= high for low, high in zip((0, *self.sizes), self.sizes, strict=False)):
            raise ValueError(f"sizes {list(self.sizes)} do not ascend from at least 1")

    @property
    def largest(self) -> int | None:
        """Rows of the largest; None: there is no largest."""
        return self.sizes[-1] if self.sizes else None

    def fitting(self, rows: int) -> int:
        """The smallest size that holds `rows` ≤ `largest` rows."""
        if not self.sizes:
            return 1 << (rows - 1).bit_length() if rows else 0
        return next(size for size in self.sizes if size >= rows)


class Bucketed:
    """Runs batches at the sizes of `buckets` only; in several runs where they have more rows than the largest.

    Padding repeats the last row, so it cannot fail where the rows themselves would not. Every fed array and every
    output must have one entry a row; an output that has not is passed on as it is. Thread-safe where `run` is.
    """

    def __init__(self, run: Run, buckets: Buckets) -> None:
        self._run = run
        self._buckets = buckets

    def __call__(self, outputs: list[str], feeds: Feeds, options: None = None, /) -> list[Array]:
        """The named outputs [n, ...] for feeds [n, ...]; raises what `run` raises."""
        rows = len(next(iter(feeds.values())))
        largest = self._buckets.largest
        if largest is None or rows <= largest:
            return self._padded(outputs, feeds, rows)
        parts = []
        for start in range(0, rows, largest):
            part = {name: array[start : start + largest] for name, array in feeds.items()}
            parts.append(self._padded(outputs, part, min(largest, rows - start)))
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _padded(self, outputs: list[str], feeds: Feeds, rows: int) -> list[Array]:
        size = self._buckets.fitting(rows)
        if size == rows:
            return self._run(outputs, feeds, None)
        given = self._run(outputs, {name: padded(array, size) for name, array in feeds.items()}, None)
        return [array[:rows] if array.shape[:1] == (size,) else array for array in given]


def padded(array: Array, rows: int) -> Array:
    """A copy [rows, ...] of `array` [n, ...], 1 ≤ n ≤ rows, whose last row is repeated."""
    given = len(array)
    larger = np.empty((rows, *array.shape[1:]), array.dtype)
    larger[:given] = array
    larger[given:] = array[-1]
    return larger
