"""Rows with their targets, and what the ensemble's inputs look like to a client."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_repo import Input
from model_repo.format.manifest import Task

Array = NDArray[Any]

FREE, TEST, FUSION = 0, 1, 2
"""What `Rows.part` says: ours to split, a test row of the data's own split, a validation row of it."""


@dataclass(frozen=True)
class Rows:
    """n rows: `inputs` name → array [n, ...], `target` int64 [n] (class index) or float32 [n] (regression).

    `ids` int64 [n], ascending, are the rows' places in the data as loaded: they name a row in messages and in the
    ledger. `part` int8 [n] is FREE, TEST or FUSION; `group` int64 [n] is what a ranking is made within (a user).
    """

    inputs: Mapping[str, Array]
    target: Array
    ids: NDArray[np.int64]
    part: NDArray[np.int8]
    group: NDArray[np.int64]

    @staticmethod
    def of(
        inputs: Mapping[str, Array],
        target: Array,
        part: NDArray[np.int8] | None = None,
        group: NDArray[np.int64] | None = None,
    ) -> Rows:
        """Rows numbered from 0; without `part` all are free, without `group` all are in one."""
        n = len(target)
        return Rows(
            inputs,
            target,
            np.arange(n, dtype=np.int64),
            np.zeros(n, dtype=np.int8) if part is None else part,
            np.zeros(n, dtype=np.int64) if group is None else group,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[np.int64]) -> Rows:
        """The rows at `index`, in that order, copied."""
        inputs = {name: array[index] for name, array in self.inputs.items()}
        return Rows(inputs, self.target[index], self.ids[index], self.part[index], self.group[index])


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer that goes into the version: `entry` as the manifest will have it but for digest and size."""

    entry: msgspec.Struct
    data: bytes


@dataclass(frozen=True)
class Dataset:
    """Rows of one task. `classes` is empty for a regression."""

    rows: Rows
    """Their inputs are all tensors that a member may take: those of `inputs` and of `derived`."""
    classes: tuple[str, ...]
    inputs: tuple[Input, ...]
    """The ensemble's inputs as the manifest declares them: what clients send."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Lowest and highest value that an input may have, where there is such a thing."""
    edges: Mapping[str, Array] = field(default_factory=dict)
    """Extreme rows per tensor, equally many: members must give the same answers to them before and after conversion."""
    task: Task = "classification"
    value_shape: tuple[int, ...] = ()
    """Of a regression whose value is more than one number: targets are float32 [n, d], d the product."""
    unique: bool = True
    """Equal rows are copies of one thing (an image, a text); False where they are different cases (two people with
    the same age and job)."""
    may_miss: frozenset[str] = frozenset()
    """Inputs in which NaN stands for a value that is missing."""
    derived: tuple[Input, ...] = ()
    """Tensors that the server makes from inputs before the members run: token ids."""
    tokenizers: tuple[TokenizerFile, ...] = ()
    """What makes them."""
    context: Mapping[str, Array] = field(default_factory=dict)
    """What all members may look up beside the rows: the edges of a graph, tables of users, a vocabulary."""

    @property
    def tensors(self) -> tuple[Input, ...]:
        """Every tensor that a member may take."""
        return self.inputs + self.derived

    @property
    def columns(self) -> int:
        """C: the number of classes; of a regression that of a value's numbers."""
        return len(self.classes) or prod(self.value_shape)

    @cached_property
    def digest(self) -> str:
        """sha256 over declarations and every byte of the rows: equal data, equal digest, on every machine."""
        declared = [self.task, self.classes, self.inputs, self.derived, sorted(self.ranges.items())]
        found = hashlib.sha256(msgspec.json.encode(declared))
        for name in sorted(self.rows.inputs):
            _add(found, name, self.rows.inputs[name])
        for name in sorted(self.context):
            _add(found, f"context {name}", self.context[name])
        for tokenizer in self.tokenizers:
            found.update(hashlib.sha256(tokenizer.data).digest())
        for name, array in (("target", self.rows.target), ("part", self.rows.part), ("group", self.rows.group)):
            _add(found, name, array)
        return found.hexdigest()


def _add(found: Any, name: str, array: Array) -> None:
    found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
    if array.dtype == np.object_:  # strings: each with its length, so that no two lists look the same
        for text in array.ravel():
            data = str(text).encode()
            found.update(len(data).to_bytes(8, "little") + data)
    else:
        found.update(np.ascontiguousarray(array).tobytes())
