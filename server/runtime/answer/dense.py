"""Answers with a distribution at each of many positions: pixels of a picture, tokens of a text.

Positions are fused as if each were a row of a classification; a member answers all positions of a row, or none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

import msgspec
import numpy as np

from model_repo import Manifest
from server.runtime.answer.alignment import Alignment, Stack
from server.runtime.answer.fusion import Rule
from server.runtime.answer.outputs import Answers
from server.runtime.datatypes import Array, Floats, Mask
from server.runtime.prediction import MemberFailure, OutputSpec


def _each_position(manifest: Manifest) -> Manifest:
    """The classification that each position is."""
    return msgspec.structs.replace(manifest, task="classification", positions=())


class DenseAlignment:
    """Member outputs [n, C, …] to one array [K, n, …, C]. Stateless; any thread."""

    def __init__(self, manifest: Manifest) -> None:
        self._positions = Alignment(_each_position(manifest), "positions")
        self._names = tuple(member.name for member in manifest.members)
        self._columns = manifest.columns
        self._shape = manifest.positions

    def stack(self, raw: Sequence[Array | None], rows: int) -> Stack:
        """As `Alignment.stack` does, with positions between the rows and the classes."""
        shape = self._common([output for output in raw if output is not None], rows)
        flat: list[Array | None] = []
        failures: list[MemberFailure] = []
        for name, output in zip(self._names, raw, strict=True):
            fits = output is not None and output.shape == (rows, self._columns, *shape)
            if output is not None and not fits:
                detail = f"gave {list(output.shape)}, expected {[rows, self._columns, *shape]}"
                failures.append(MemberFailure(name, "shape", detail))
            flat.append(np.moveaxis(output, 1, -1).reshape(-1, self._columns) if output is not None and fits else None)
        stack = self._positions.stack(flat, rows * prod(shape))
        P = stack.P.reshape(len(flat), rows, *shape, self._columns)
        if stack.answered is None:
            return Stack(P, None, stack.failures)
        answered: Mask = np.all(stack.answered.reshape(len(flat), rows, prod(shape)), axis=2)
        P[~answered] = np.nan
        return Stack(P, answered, (*failures, *stack.failures))

    def _common(self, given: Sequence[Array], rows: int) -> tuple[int, ...]:
        """The positions of this batch: those of the first output that may have them."""
        depth = len(self._shape)
        for output in given:
            shape = output.shape[2:]
            fits = len(shape) == depth and all(
                wanted in (-1, size) for size, wanted in zip(shape, self._shape, strict=True)
            )
            if fits and output.shape[:2] == (rows, self._columns):
                return shape
        return tuple(max(1, size) for size in self._shape)


class DenseRule:
    """A fixed rule at each position. Stateless; any thread."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def __call__(self, P: Floats, mask: Mask | None = None) -> Floats:
        """float64 [n, …, C] from float64 [K, n, …, C] and bool [K, n]."""
        return self._rule(_flat(P), _spread(P, mask)).reshape(P.shape[1:])


class DenseAnswers:
    """Makes the outputs of one ensemble. Stateless; any thread."""

    def __init__(self, manifest: Manifest) -> None:
        self._answers = Answers(_each_position(manifest), tuple(dense_specs(manifest)))

    def make(self, asked: Collection[str], P: Floats, mask: Mask | None, fused: Floats) -> dict[str, Array]:
        """The outputs asked for, of `P` [K, n, …, C], `mask` [K, n] or None, `fused` [n, …, C]; as `Answers` does."""
        rows, shape = P.shape[1], P.shape[2:-1]
        made = self._answers.make(asked, _flat(P), _spread(P, mask), fused.reshape(-1, fused.shape[-1]))
        return {name: _placed(array, rows, shape) for name, array in made.items()}


def dense_specs(manifest: Manifest) -> dict[str, OutputSpec]:
    """Every output that a dense ensemble offers: those of a classification, with positions."""
    C, K, positions = manifest.columns, len(manifest.members), manifest.positions
    specs = {
        "probabilities": OutputSpec("FP32", (-1, C, *positions)),
        "label": OutputSpec("BYTES", (-1, *positions)),
        "index": OutputSpec("INT32", (-1, *positions)),
    }
    for name in ("confidence", "agreement", "entropy", "mutual_information"):
        specs[name] = OutputSpec("FP32", (-1, *positions))
    return specs | {"members": OutputSpec("FP32", (-1, K, C, *positions))}


def _flat(P: Floats) -> Floats:
    return P.reshape(len(P), -1, P.shape[-1])


def _spread(P: Floats, mask: Mask | None) -> Mask | None:
    """Of each row for each of its positions, bool [K, n · positions]."""
    return None if mask is None else np.repeat(mask, prod(P.shape[2:-1]), axis=1)


def _placed(array: Array, rows: int, shape: tuple[int, ...]) -> Array:
    """[n · positions, …] as [n, …, positions]: what belongs to a position goes before it."""
    whole = array.reshape(rows, *shape, *array.shape[1:])
    return np.ascontiguousarray(np.moveaxis(whole, range(1, 1 + len(shape)), range(-len(shape), 0)))
