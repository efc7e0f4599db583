"""Whether it was a request's shape that no model took: found by giving a good row that shape.

onnxruntime says only that a node failed. Where a row that is known to be good fails as well once it is as long as the
request, the length is to blame, and where the limit is can be found by halves. That costs some 20 runs of one row, the
first time and for one request at a time; whoever asks later is told from memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from model_repo import Manifest
from server.runtime.datatypes import Array, Feeds
from server.runtime.prediction import Prediction

Predict = Callable[[Feeds, Collection[str]], Prediction]
Axes = tuple[tuple[str, int], ...]
"""Inputs and one dimension of each, which have the same size."""

MOST_SHAPES = 256
"""Shapes that are remembered as answered; clients choose them, so there must be a bound."""


class Group(NamedTuple):
    """Dimensions that are of `size` in a request and of `good` in the good row."""

    axes: Axes
    size: int
    good: int


class ShapeLimits:
    """What is known of the shapes that one ensemble answers. `good` is a row that it answers. Any thread."""

    def __init__(self, manifest: Manifest, good: Feeds, predict: Predict) -> None:
        self._good = good
        self._predict = predict
        self._axes = [
            (entry.name, axis)
            for entry in manifest.inputs
            for axis, size in enumerate(entry.shape)
            if axis and size < 0
        ]
        self._texts = [entry.name for entry in manifest.inputs if entry.datatype == "BYTES"]
        self._searching = threading.Lock()
        self._limits: dict[tuple[object, bool], tuple[int, int]] = {}
        self._answered: set[object] = set()

    def problem(self, feeds: Feeds, outputs: Collection[str]) -> str | None:
        """Which shape of `feeds`, which failed on their own, is to blame; None where none is."""
        groups = self._groups(feeds)
        longest = {name: _longest(feeds[name]) for name in self._texts}
        long = [name for name, (_, size) in longest.items() if size > _longest(self._good[name])[1]]
        for axes, size, good in groups:
            if (known := self._limits.get((axes, size > good))) and (size >= known[1]) is (size > good):
                return _dimension(axes, size, *known)
        if not (groups or long) or not self._searching.acquire(blocking=False):
            return None
        try:
            if not self._answers(self._good, outputs):
                return None
            return self._wrong_dimension(groups, outputs) or self._wrong_text(feeds, long, longest, outputs)
        finally:
            self._searching.release()

    def _groups(self, feeds: Feeds) -> list[Group]:
        found: dict[tuple[int, int], list[tuple[str, int]]] = {}
        for name, axis in self._axes:
            sizes = feeds[name].shape[axis], self._good[name].shape[axis]
            if sizes[0] != sizes[1]:
                found.setdefault(sizes, []).append((name, axis))
        return [Group(tuple(axes), *sizes) for sizes, axes in found.items()]

    def _wrong_dimension(self, groups: Sequence[Group], outputs: Collection[str]) -> str | None:
        shape = tuple(groups)
        if not groups or shape in self._answered:
            return None
        if self._answers(self._shaped(*((axes, size) for axes, size, _ in groups)), outputs):
            if len(self._answered) >= MOST_SHAPES:
                self._answered.clear()
            self._answered.add(shape)
            return None
        for axes, size, good in groups:

            def answers(length: int, axes: Axes = axes) -> bool:
                return self._answers(self._shaped((axes, length)), outputs)

            if len(groups) == 1 or not answers(size):
                limit = _halved(good, size, answers)
                self._limits[axes, size > good] = limit
                return _dimension(axes, size, *limit)
        told = self._shaped(*((axes, size) for axes, size, _ in groups))
        names = dict.fromkeys(name for axes, _, _ in groups for name, _ in axes)
        return "; ".join(f"input {n!r} is {_tail(told[n])}, {_tail(self._good[n])} is answered" for n in names)

    def _wrong_text(
        self, feeds: Feeds, long: Sequence[str], longest: dict[str, tuple[int, int]], outputs: Collection[str]
    ) -> str | None:
        """A text that is answered as far as it is no longer than a good one."""
        for name in long:
            place, size = longest[name]
            row = {other: array[place : place + 1] for other, array in feeds.items()}
            good = _longest(self._good[name])[1]

            def answers(length: int, row: Feeds = row, name: str = name) -> bool:
                return self._answers({**row, name: _cut(row[name], length)}, outputs)

            if not answers(size) and answers(good):
                answered, failed = _halved(good, size, answers)
                return (
                    f"a text of input {name!r} has {size} characters; "
                    f"with {answered} it is answered, with {failed} it is not"
                )
        return None

    def _answers(self, feeds: Feeds, outputs: Collection[str]) -> bool:
        prediction = self._predict(feeds, outputs)
        return prediction.usable is None and all(name in prediction.outputs for name in outputs)

    def _shaped(self, *wanted: tuple[Axes, int]) -> Feeds:
        """The good row with those dimensions cut to that size, or filled up with what it has."""
        row = dict(self._good)
        for axes, size in wanted:
            for name, axis in axes:
                array = row[name]
                if array.shape[axis]:
                    row[name] = np.take(array, np.arange(size) % array.shape[axis], axis=axis)
        return row


def _halved(answered: int, failed: int, answers: Callable[[int], bool]) -> tuple[int, int]:
    """Two sizes side by side of which the first is answered and the second is not."""
    while abs(failed - answered) > 1:
        middle = (answered + failed) // 2
        if answers(middle):
            answered = middle
        else:
            failed = middle
    return answered, failed


def _dimension(axes: Axes, size: int, answered: int, failed: int) -> str:
    names = list(dict.fromkeys(repr(name) for name, _ in axes))
    inputs = f"{'input' if len(names) == 1 else 'inputs'} {' and '.join(names)}"
    where = " and ".join(dict.fromkeys(str(axis) for _, axis in axes))
    return f"dimension {where} of {inputs} is {size}; with {answered} it is answered, with {failed} it is not"


def _longest(texts: Array) -> tuple[int, int]:
    """The row with the longest text and the characters of that; [n, …] of str."""
    lengths = [max(map(len, np.ravel(row).tolist()), default=0) for row in texts]
    place = int(np.argmax(lengths))
    return place, lengths[place]


def _cut(texts: Array, length: int) -> Array:
    cut = np.empty(texts.size, np.object_)
    cut[:] = [text[:length] for text in texts.ravel().tolist()]
    return cut.reshape(texts.shape)


def _tail(array: Array) -> str:
    """Its shape without the rows."""
    return str(["n", *array.shape[1:]]).replace("'", "")
