"""The rows of the parity gate, in every form that a server may send them: batch sizes, lengths, padding, edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array, Dataset, Rows
from exporter.gate.inference import batches
from model_repo import Input, Tokenizer

BATCH_ROWS = (1, 2, 7, 33)
"""One row, an even and two odd sizes, none of which the graph was traced with (3)."""

MOST_SMALL = 256
"""Rows that go through in batches of 1, 2 and 7; the largest size takes all of them."""

MOST_OTHER = 33
"""Rows that go through in other lengths."""

LONGER = 3
"""How much longer than any row, where no longest length is declared: a length that nothing was traced with."""

Cut = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class Form:
    """One form of the rows. `where` is how a message says it; the first `real` rows have targets."""

    where: str
    inputs: Mapping[str, Array]
    names: Sequence[str]
    real: int
    whole: bool = False
    """All real rows are there: figures may be compared too."""
    cut: Cut | None = None
    """What a server does to a batch of the rows: fill up to the longest of it and no further."""

    def batches(self, rows: int) -> Iterator[Mapping[str, Array]]:
        """The inputs `rows` at a time, as a server sends them."""
        for part in batches(self.inputs, rows):
            yield part if self.cut is None else self.cut(part)


@dataclass(frozen=True)
class Sweep:
    """Real rows with their targets, edge rows without, and what may differ between two batches."""

    inputs: Mapping[str, Array]
    names: Sequence[str]
    target: Array
    """Of the real rows, which come first."""
    dynamic: Mapping[str, int] = field(default_factory=dict)
    """Numeric tensors with lengths: name → how many dimensions after the rows vary, from the first on."""
    longest: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Tensors that the server fills up with zeros: name → their longest lengths."""

    @staticmethod
    def of(rows: Rows, dataset: Dataset, takes: Sequence[str] | None = None) -> Sweep:
        """The rows with the data set's edge rows, or edge rows of our own; each named so that a message can point.

        `takes` are the tensors of the member, by default all: only their lengths are worth a sweep.
        """
        known = dataset.tensors
        inputs = {entry.name: rows.inputs[entry.name] for entry in known}
        edges = _given(dataset, inputs) or _made(dataset, known, inputs)
        joined = {name: np.concatenate([array, *(edge[name] for edge in edges.values())]) if edges else array
                  for name, array in inputs.items()}  # fmt: skip
        names = [f"row {row}" for row in rows.ids] + [f"edge row {name}" for name in edges]
        taken = set(inputs if takes is None else takes)
        dynamic = {entry.name: sum(size == -1 for size in entry.shape[1:]) for entry in known
                   if entry.name in taken and entry.datatype != "BYTES" and -1 in entry.shape[1:]}  # fmt: skip
        entries = (tokenizer.entry for tokenizer in dataset.tokenizers)
        longest = {entry.name: _longest(entry) for entry in entries if isinstance(entry, Tokenizer)}
        return Sweep(
            joined, names, rows.target, dynamic, {name: sizes for name, sizes in longest.items() if name in dynamic}
        )

    def forms(self) -> Iterator[Form]:
        """As given; as a server pads them; cut to length 1; longer than any."""
        yield Form("", self.inputs, self.names, len(self.target), whole=True)
        few = self._few()
        inputs = {name: array[few] for name, array in self.inputs.items()}
        names = [self.names[row] for row in few]
        real = int((few < len(self.target)).sum())
        if self.longest:
            where = "filled up to the longest row of each batch"
            yield Form(where, self.inputs, self.names, len(self.target), whole=True, cut=self._trimmed)
        if self.dynamic:
            yield Form("cut to length 1", self._resized(inputs, lambda name, size: 1), names, real)
            longer = self._resized(inputs, self._longer)
            if any(longer[name].shape != inputs[name].shape for name in longer):
                yield Form("filled up to the greatest length", longer, names, real)

    def few(self, form: Form, rows: int) -> Form:
        """The form's rows that go through in batches of `rows`."""
        if rows == BATCH_ROWS[-1] or form.real <= MOST_SMALL:
            return form
        index = np.concatenate([np.arange(MOST_SMALL), np.arange(form.real, len(form.names))])
        names = [form.names[row] for row in index]
        inputs = {name: array[index] for name, array in form.inputs.items()}
        return Form(form.where, inputs, names, MOST_SMALL, cut=form.cut)

    def _few(self) -> NDArray[np.int64]:
        real = min(len(self.target), MOST_OTHER)
        return np.concatenate([np.arange(real), np.arange(len(self.target), len(self.names))])

    def _longer(self, name: str, size: int) -> int:
        return size + LONGER if name not in self.longest else size

    def _resized(self, inputs: Mapping[str, Array], size: Callable[[str, int], int]) -> dict[str, Array]:
        """Every dynamic dimension cut, or filled up with zeros; of tokenizers the declared lengths are the end."""
        found = dict(inputs)
        for name, count in self.dynamic.items():
            array = inputs[name]
            wanted = [size(name, length) for length in array.shape[1 : 1 + count]]
            if name in self.longest and wanted != [1] * count:
                wanted = list(self.longest[name])
            found[name] = _fitted(array, wanted)
        return found

    def _trimmed(self, batch: Mapping[str, Array]) -> Mapping[str, Array]:
        """Without what is padding in every row of the batch."""
        found = dict(batch)
        for name in self.longest:
            array = batch[name]
            sizes = []
            for axis in range(1, array.ndim):
                others = tuple(other for other in range(array.ndim) if other != axis)
                used = np.flatnonzero((array != 0).any(axis=others))
                sizes.append(int(used[-1]) + 1 if len(used) else 1)
            found[name] = _fitted(array, sizes)
        return found


def _fitted(array: Array, sizes: Sequence[int]) -> Array:
    """The array with its dimensions after the first of these sizes, cut or filled up with zeros at the end."""
    for axis, size in enumerate(sizes, 1):
        if size <= array.shape[axis]:
            array = np.take(array, np.arange(size), axis=axis)
        else:
            width = [(0, size - array.shape[axis] if place == axis else 0) for place in range(array.ndim)]
            array = np.pad(array, width)
    return array


def _longest(entry: Tokenizer) -> tuple[int, ...]:
    return (entry.max_tokens,) if entry.max_windows is None else (entry.max_windows, entry.max_tokens)


def _given(dataset: Dataset, inputs: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """The data set's own edge rows by number."""
    edges = {name: dataset.edges[name] for name in inputs if name in dataset.edges}
    if not edges or len(edges) < len(inputs):
        return {}
    count = len(next(iter(edges.values())))
    return {str(row): {name: array[row : row + 1] for name, array in edges.items()} for row in range(count)}


def _made(dataset: Dataset, known: Sequence[Input], inputs: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Edge rows where the data set has none: zeros (padding alone, an empty text), unknown tokens, nothing known."""
    if not known or not len(next(iter(inputs.values()))):
        return {}
    derived = {entry.name for entry in dataset.derived}
    edges = {"of zeros": {entry.name: _filled(dataset, inputs[entry.name], entry, 0) for entry in known}}
    if derived & inputs.keys():
        edges["of unknown tokens"] = {
            entry.name: _filled(dataset, inputs[entry.name], entry, int(entry.name in derived)) for entry in known
        }
    if missing := dataset.may_miss & inputs.keys():
        edges["of missing values"] = {
            entry.name: _filled(dataset, inputs[entry.name], entry, np.nan if entry.name in missing else 0)
            for entry in known
        }
    return edges


def _filled(dataset: Dataset, array: Array, entry: Input, value: float) -> Array:
    """One row of that value, or the nearest within the declared range; strings are empty."""
    if array.dtype == np.object_:
        return np.full((1, *array.shape[1:]), "", dtype=np.object_)
    if entry.name in dataset.ranges and not np.isnan(value):
        value = min(max(value, dataset.ranges[entry.name][0]), dataset.ranges[entry.name][1])
    return np.full((1, *array.shape[1:]), value, dtype=array.dtype)
