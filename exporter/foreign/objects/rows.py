"""Arrays that a user brings, as rows of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal

import numpy as np

from exporter.data.dataset import Array, Dataset, Rows
from exporter.data.splits import folds
from exporter.errors import BundleError, DataError
from exporter.foreign.objects.classes import label_name
from exporter.foreign.objects.tables import columns_of, text_or_numbers
from model_repo import Input
from model_repo.format.manifest import Datatype, Task
from server.runtime.datatypes import NUMPY_TYPES

INPUT = "x"
"""What one array without a name is called."""

_DATATYPES: dict[str, Datatype] = {np.dtype(kind).str: name for name, kind in NUMPY_TYPES.items() if name != "BYTES"}  # type: ignore[misc]  # the table's keys are the Literal's
_SLICES = 20
"""Stratified slices of the rows; the held-out share is a whole number of them."""


def rows_of(X: Any) -> dict[str, Array]:
    """Name → array [n, …]: float64 becomes float32, which members take; texts become objects. Raises DataError.

    `X` is one array, or columns by name: a dict, a DataFrame, a structured array. Names become legal ones.
    """
    columns = columns_of(X)
    named = {INPUT: X} if columns is None else columns
    found = {name: _typed(name, np.asarray(array)) for name, array in named.items()}
    counts = {name: len(array) for name, array in found.items()}
    if not found or len(set(counts.values())) > 1:
        told = ", ".join(f"{name!r} has {count}" for name, count in counts.items()) or "none are given"
        raise DataError(f"inputs need the same number of rows each: {told}")
    return found


def dataset_of(
    inputs: Mapping[str, Array],
    y: Array,
    classes: tuple[str, ...],
    declared: Sequence[Input] | None,
    missing: Literal["nan", "refuse"] = "refuse",
    task: Task = "classification",
) -> Dataset:
    """The rows with their targets. Raises DataError, or BundleError where `declared` inputs are others.

    `missing` "nan": NaN in an input of floats is a missing value, and members are asked about rows of nothing else.
    """
    rows = len(next(iter(inputs.values())))
    if not rows:
        raise DataError("X has no rows")
    labels = task == "multilabel"
    value_shape: tuple[int, ...] = ()
    if classes:
        target = _labelled(y, classes) if labels else _classified(y, classes)
    else:
        target, value_shape = _valued(y)
    if len(target) != rows:
        raise DataError(f"y has {len(target)} rows, the inputs have {rows}")
    entries = _inputs(inputs, missing) if declared is None else tuple(declared)
    if declared is not None:
        _require(inputs, entries)
    return Dataset(
        rows=Rows.of(dict(inputs), target),
        classes=classes,
        inputs=entries,
        task="multilabel" if labels else "classification" if classes else "regression",
        value_shape=value_shape,
        unique=False,  # the rows are the user's own: equal ones may be different cases
        may_miss=frozenset(entry.name for entry in entries if entry.missing == "nan"),
    )


def held_out(dataset: Dataset, share: float, seed: int) -> tuple[Array, Array]:
    """Row numbers for the fusion and for the test, with equal class shares. Raises DataError."""
    if not 0 < share < 1:
        raise DataError(f"test is {share:g}, expected a share between 0 and 1, or rows of its own")
    one_class = dataset.classes and dataset.rows.target.ndim == 1
    strata = dataset.rows.target if one_class else np.zeros(len(dataset.rows), dtype=np.int64)
    slice_of = folds(strata, _SLICES, np.random.default_rng([seed, 0x7E57]))
    test = slice_of < max(1, round(share * _SLICES))
    return np.flatnonzero(~test), np.flatnonzero(test)


def _typed(name: str, array: Array) -> Array:
    if array.dtype == np.float64 or array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind in "US":
        return array.astype(np.str_).astype(np.object_)
    if array.dtype == np.object_:
        return text_or_numbers(array)
    if array.dtype != np.object_ and array.dtype.str not in _DATATYPES:
        raise DataError(f"input {name!r} is {array.dtype}, expected numbers or texts")
    return array


def _inputs(inputs: Mapping[str, Array], missing: Literal["nan", "refuse"]) -> tuple[Input, ...]:
    return tuple(
        Input(
            name=name,
            datatype="BYTES" if array.dtype == np.object_ else _DATATYPES[array.dtype.str],
            shape=(-1, *array.shape[1:]),
            missing=missing if array.dtype.kind == "f" else "refuse",
        )
        for name, array in inputs.items()
    )


def _require(inputs: Mapping[str, Array], entries: Sequence[Input]) -> None:
    if sorted(inputs) != sorted(entry.name for entry in entries):
        names = ", ".join(entry.name for entry in entries)
        raise BundleError("inputs", [f"X has {', '.join(inputs)}, declared are {names}"])
    for entry in entries:
        shape = inputs[entry.name].shape
        if len(shape) != len(entry.shape) or any(
            size not in (-1, given) for size, given in zip(entry.shape, shape, strict=True)
        ):
            raise BundleError(f"input {entry.name!r}", [f"X is {list(shape)}, declared is {list(entry.shape)}"])


def _classified(y: Array, classes: tuple[str, ...]) -> Array:
    """int64 [n]: each label by its name, or, where labels are numbers that are no names, counted from 0."""
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise DataError(f"y is {list(labels.shape)}, expected one class for each row: [n]")
    values = list(dict.fromkeys(labels.tolist()))
    known = set(classes)
    names = [label_name(value, classes) for value in values]
    if not set(names) <= known and all(_counts(value, len(classes)) for value in values):
        return labels.astype(np.int64)
    place = {name: column for column, name in enumerate(classes)}
    if unknown := [name for name in names if name not in place]:
        row = next(k for k, value in enumerate(labels.tolist()) if label_name(value, classes) == unknown[0])
        raise DataError(f"y has {unknown[0]!r} in row {row}, the classes are {', '.join(map(repr, classes[:8]))}")
    return np.array([place[label_name(value, classes)] for value in labels.tolist()], dtype=np.int64)


def _counts(value: object, classes: int) -> bool:
    """Whether it is a whole number that counts the classes from 0."""
    return isinstance(value, int | float) and value in range(classes)


def _labelled(y: Array, classes: tuple[str, ...]) -> Array:
    """int64 [n, C]: 1 where a label holds."""
    labels = np.asarray(y)
    if labels.ndim != 2 or labels.shape[1] != len(classes) or labels.dtype.kind not in "biuf":
        given = f"{labels.dtype} {list(labels.shape)}"
        raise DataError(f"y is {given}, expected 0 or 1 for each of the {len(classes)} labels: [n, {len(classes)}]")
    if not np.isin(labels, (0, 1)).all():
        raise DataError("y has values that are neither 0 nor 1")
    return labels.astype(np.int64)


def _valued(y: Array) -> tuple[Array, tuple[int, ...]]:
    """float32 [n] or [n, d], and the shape of one value, () for one number: y may be [n, …]."""
    values = np.asarray(y)
    if not values.ndim or values.dtype.kind not in "fiu":
        told = f"{values.dtype} {list(values.shape)}"
        raise DataError(f"y is {told}, expected numbers [n] (or [n, d], several a row); name classes to classify")
    shape = values.shape[1:]
    if prod(shape) == 1:
        return values.reshape(len(values)).astype(np.float32), ()
    if not prod(shape):
        raise DataError(f"y is {list(values.shape)}, expected at least one number a row")
    return values.reshape(len(values), -1).astype(np.float32), shape
