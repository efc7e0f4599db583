"""Rows that would poison training or leak between the splits: found, named, refused or left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import TEST, Array, Dataset, Rows
from exporter.errors import DataError

Mask = NDArray[np.bool_]
_SHOWN = 8


@dataclass(frozen=True)
class Cleaning:
    """What cleaning left out, by reason, as numbers of rows; `rows` is what is left."""

    rows: int
    dropped: dict[str, int]


def clean(dataset: Dataset, on_bad_rows: Literal["error", "drop"]) -> tuple[Dataset, Cleaning]:
    """The dataset without bad rows and without copies, and what was left out.

    Bad are rows that are not finite, out of the declared range or without a valid target. Where equal rows are
    copies of one thing (`Dataset.unique`), the first stays of those with one target: a copy in two splits would be
    learned in one and rewarded in the other. Equal rows of different classes all go: they teach nothing. Rows of
    the data's own test part always stay, and what equals one of them goes. Raises DataError for bad rows unless
    they are to be dropped, and when a class has no row left.
    """
    keep = np.ones(len(dataset.rows), dtype=np.bool_)
    dropped: dict[str, int] = {}
    for reason, bad in _bad_rows(dataset):
        if on_bad_rows == "error" and bad.any():
            raise DataError(f"{_rows(bad, dataset.rows)} {reason}")
        _drop(keep, bad, reason, dropped)
    if dataset.unique:
        for reason, copies in _copies(dataset.rows, keep, contradictions=bool(dataset.classes)):
            _drop(keep, copies, reason, dropped)
    cleaned = replace(dataset, rows=dataset.rows.take(np.flatnonzero(keep)))
    _require_every_class(cleaned)
    return cleaned, Cleaning(int(keep.sum()), dropped)


def _bad_rows(dataset: Dataset) -> Iterator[tuple[str, Mask]]:
    rows = dataset.rows
    for name, array in rows.inputs.items():
        if not np.issubdtype(array.dtype, np.number):
            continue
        flat = array.reshape(len(array), -1)
        unusable = np.isinf(flat) if name in dataset.may_miss else ~np.isfinite(flat)
        wild: Mask = np.logical_or.reduce(unusable, axis=1)
        yield f"of input {name!r} have a value that is not finite", wild
        if name in dataset.ranges:
            low, high = dataset.ranges[name]
            outside: Mask = np.logical_or.reduce((flat < low) | (flat > high), axis=1)  # NaN is neither
            yield f"of input {name!r} have a value outside {low:g} to {high:g}", outside & ~wild
    if rows.target.ndim == 2 and dataset.classes:
        yield "have a label that is neither 0 nor 1", np.logical_not(np.isin(rows.target, (0, 1)).all(axis=1))
    elif dataset.classes:
        valid = (rows.target >= 0) & (rows.target < len(dataset.classes))
        yield f"have a label outside 0 to {len(dataset.classes) - 1}", ~valid
    else:
        wild = np.logical_or.reduce(~np.isfinite(rows.target.reshape(len(rows), -1)), axis=1)
        yield "have a target that is not finite", wild


def _copies(rows: Rows, keep: Mask, *, contradictions: bool) -> Iterator[tuple[str, Mask]]:
    first: dict[bytes, int] = {}
    copies = np.zeros(len(rows), dtype=np.bool_)
    contradicting: set[bytes] = set()
    keys = [_key(rows.inputs, row) for row in range(len(rows))]
    given = rows.part == TEST
    tested = {keys[row] for row in np.flatnonzero(keep & given)}
    leaked = np.array([key in tested for key in keys], dtype=np.bool_) & keep & ~given
    for row in np.flatnonzero(keep & ~given & ~leaked):
        seen = first.setdefault(keys[row], int(row))
        copies[row] = seen != row
        if not np.array_equal(rows.target[seen], rows.target[row]):
            contradicting.add(keys[row])
    against = np.array([key in contradicting for key in keys], dtype=np.bool_) & keep & ~given & ~leaked
    yield "equal a test row", leaked
    if contradictions:
        yield "equal another row but not its target", against
        copies &= ~against
    yield "equal an earlier row", copies


def _key(inputs: Mapping[str, Array], row: int) -> bytes:
    return b"\0".join(
        repr(array[row : row + 1].tolist()).encode() if array.dtype == np.object_ else array[row].tobytes()
        for array in inputs.values()
    )


def _drop(keep: Mask, bad: Mask, reason: str, dropped: dict[str, int]) -> None:
    gone = int((keep & bad).sum())
    if gone:
        dropped[reason] = gone
        keep &= ~bad


def _rows(bad: Mask, rows: Rows) -> str:
    ids = rows.ids[bad]
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"rows {', '.join(map(str, ids[:_SHOWN]))}{more}"


def _require_every_class(dataset: Dataset) -> None:
    if not len(dataset.rows):
        raise DataError("no row is left after cleaning")
    if dataset.rows.target.ndim == 2:
        return  # a label that never holds is possible: it is told by its figures
    counts = np.bincount(dataset.rows.target, minlength=len(dataset.classes)) if dataset.classes else np.ones(1)
    if empty := [name for name, count in zip(dataset.classes, counts, strict=False) if not count]:
        raise DataError(f"no row has class {', '.join(map(repr, empty[:_SHOWN]))}")
