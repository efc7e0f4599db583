"""Rows with their targets, and what the ensemble's inputs look like to a client."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_repo import Input

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """n rows: `inputs` name → array [n, ...], `target` int64 [n] (class index) or float32 [n] (regression).

    `ids` int64 [n] are the rows' places in the data as loaded: they name a row in messages and in the ledger.
    """

    inputs: Mapping[str, Array]
    target: Array
    ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[np.int64]) -> Rows:
        """The rows at `index`, in that order, copied."""
        return Rows({name: array[index] for name, array in self.inputs.items()}, self.target[index], self.ids[index])


@dataclass(frozen=True)
class Dataset:
    """Rows of one task. `classes` is empty for a regression."""

    rows: Rows
    classes: tuple[str, ...]
    inputs: tuple[Input, ...]
    """The ensemble's inputs as the manifest declares them."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Lowest and highest value that an input may have, where there is such a thing."""
    edges: Mapping[str, Array] = field(default_factory=dict)
    """Extreme rows per input, equally many: members must give the same answers to them before and after conversion."""

    @cached_property
    def digest(self) -> str:
        """sha256 over declarations and every byte of the rows: equal data, equal digest, on every machine."""
        found = hashlib.sha256(msgspec.json.encode([self.classes, self.inputs, sorted(self.ranges.items())]))
        for name in sorted(self.rows.inputs):
            _add(found, name, self.rows.inputs[name])
        _add(found, "target", self.rows.target)
        return found.hexdigest()


def _add(found: Any, name: str, array: Array) -> None:
    found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
    if array.dtype == np.object_:  # strings: each with its length, so that no two lists look the same
        for text in array.ravel():
            data = str(text).encode()
            found.update(len(data).to_bytes(8, "little") + data)
    else:
        found.update(np.ascontiguousarray(array).tobytes())
