"""Raw member outputs to one aligned, calibrated array [K, n, C], with what cannot be trusted masked.

Classes are aligned by name, never by position. A member whose output has the wrong shape is masked whole;
a row that is not finite, or is no distribution, is masked alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_repo import Manifest, Member
from model_repo.format.manifest import Kind, Task
from server.runtime.answer.calibration import softmax, temper
from server.runtime.answer.multilabel import clipped, sigmoid
from server.runtime.answer.multilabel import temper as temper_labels
from server.runtime.datatypes import Array, Floats, Mask
from server.runtime.prediction import FailureReason, MemberFailure

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from 1: half precision over a thousand classes stays within."""
NEGATIVE_TOLERANCE = 1e-6
"""A probability below minus this is refused; above it, rounding, and taken as 0."""


FEW = 32


class Stack(NamedTuple):
    """Aligned outputs of one batch.

    `P` float64 [K, n, C], NaN where masked; `answered` bool [K, n], None when everything answered.
    """

    P: Floats
    answered: Mask | None
    failures: tuple[MemberFailure, ...]


class Alignment:
    """The alignment of one ensemble, bound to its manifest. Stateless; any thread."""

    def __init__(self, manifest: Manifest, unit: str = "rows") -> None:
        """`unit` is what failures call that which is masked alone."""
        self._unit = unit
        self._names = tuple(member.name for member in manifest.members)
        self._columns = manifest.columns
        self._orders = tuple(column_order(manifest, member) for member in manifest.members)
        self._kinds = tuple(member.kind for member in manifest.members)
        self._groups = _groups(manifest.members, manifest.task)
        self._most_from_one = 2 if manifest.task in ("classification", "ranking") else 1
        self._own_shape = manifest.value_shape
        self._ones = np.ones(self._columns)
        self._labels = manifest.task == "multilabel"
        self._plain = manifest.task == "classification" and all(
            member.kind == "probabilities" and member.temperature == 1.0 for member in manifest.members
        )

    def stack(self, raw: Sequence[Array | None], rows: int) -> Stack:
        """The aligned outputs of `rows` rows; `raw[k]` is None where member k has failed already."""
        P, absent, failures = self._gathered(raw, (rows, self._columns))
        if self._plain and not absent and rows and self._sound(P):
            return Stack(P, None, ())
        with np.errstate(invalid="ignore", over="ignore"):  # what would be warned of is found and masked
            bad = self._calibrate(P) if rows else {}
        if not bad and not absent:
            return Stack(P, None, ())
        return self._masked(P, absent, bad, failures)

    def _sound(self, P: Floats) -> bool:
        """Whether [K, n, C] of plain probabilities may be taken as they are: few cheap looks, none at single rows.

        Few numbers are looked at in Python: five calls of numpy take 5 µs, three rows of ten 2 µs (measured).
        """
        if P.size <= FEW:
            # A NaN may pass the minimum, never the sum.
            return all(
                min(row) >= 0.0 and abs(sum(row) - 1.0) <= SUM_TOLERANCE
                for row in P.reshape(-1, self._columns).tolist()
            )
        if not P.item(P.argmin()) >= 0.0:  # first: no NaN and no -inf is left to warn of
            return False
        off = np.dot(P.reshape(-1, self._columns), self._ones)
        off -= 1.0
        # One comparison for all: where each row's distance from 1 is small, so is the root of the sum of squares.
        return bool(np.dot(off, off) <= SUM_TOLERANCE**2)

    def _gathered(
        self, raw: Sequence[Array | None], shape: tuple[int, int]
    ) -> tuple[Floats, list[int], list[MemberFailure]]:
        """Outputs one by one, each in the ensemble's class order; the members that gave nothing usable, and why."""
        P = np.empty((len(raw), *shape))
        absent: list[int] = []
        failures: list[MemberFailure] = []
        for k, (output, order) in enumerate(zip(raw, self._orders, strict=True)):
            if output is not None and output.shape == shape:
                P[k] = output if order is None else output[:, order]
            elif not self._place(P, k, output, failures):
                absent.append(k)
        return P, absent, failures

    def _place(self, P: Floats, k: int, output: Array | None, failures: list[MemberFailure]) -> bool:
        """Write an output that is absent or not [n, C] into P[k]; False leaves numbers that offend no check."""
        P[k] = 1.0 / self._columns
        if output is None:
            return False
        if self._own_shape and output.shape == (len(P[k]), *self._own_shape):
            P[k] = output.reshape(P[k].shape)
            return True
        column = _single_column(output, len(P[k]))
        if column is None or self._columns > self._most_from_one:
            expected = [P.shape[1], *(self._own_shape or P.shape[2:])]
            failures.append(self._failure(k, "shape", f"gave {list(output.shape)}, expected {expected}"))
            return False
        order = self._orders[k]
        P[k] = _expanded(column, self._kinds[k], self._columns)[:, order if order is not None else slice(None)]
        return True

    def _calibrate(self, P: Floats) -> dict[FailureReason, Mask]:
        """Calibrate P in place, by groups of one kind; reason → bool [K, n] of the rows to mask."""
        bad: dict[FailureReason, Mask] = {}
        for group in self._groups:
            part = P if group.all else P[group.index]
            for reason, mask in group.calibrate(part).items():
                bad.setdefault(reason, np.zeros(P.shape[:2], dtype=np.bool_))[group.index] = mask
            if not group.all:
                P[group.index] = part
        return bad

    def _masked(
        self, P: Floats, absent: list[int], bad: dict[FailureReason, Mask], failures: list[MemberFailure]
    ) -> Stack:
        answered = np.ones(P.shape[:2], dtype=np.bool_)
        for reason, mask in bad.items():
            mask[absent] = False
            answered &= ~mask
            failures.extend(
                self._failure(k, reason, _rows_told(mask[k], self._said(reason), self._unit))
                for k in np.flatnonzero(mask.any(axis=1)).tolist()
            )
        answered[absent] = False
        P[~answered] = np.nan
        return Stack(P, None if answered.all() else answered, tuple(failures))

    def _said(self, reason: FailureReason) -> str:
        return _SAID["labels"] if reason == "distribution" and self._labels else _SAID[reason]

    def _failure(self, k: int, reason: FailureReason, detail: str) -> MemberFailure:
        return MemberFailure(self._names[k], reason, detail)


def column_order(manifest: Manifest, member: Member) -> NDArray[np.intp] | None:
    """Where the ensemble's class c is in the member's output, [C]; None when the orders are equal."""
    if member.classes is None or member.classes == manifest.classes:
        return None
    place = {name: column for column, name in enumerate(member.classes)}
    return np.array([place[name] for name in manifest.classes], dtype=np.intp)


class _Group:
    """The members of one kind: calibrated together, in few numpy calls."""

    def __init__(self, kind: Kind, index: list[int], temperatures: list[float], everyone: bool) -> None:
        self.all = everyone
        self.index = np.array(index, dtype=np.intp)
        self._kind = kind
        self._T = np.array(temperatures)[:, None, None]
        self._tempered = np.flatnonzero(self._T[:, 0, 0] != 1.0)
        self._uniform = len(self._tempered) == len(index)

    def calibrate(self, P: Floats) -> dict[FailureReason, Mask]:
        """Calibrate [k, n, C] in place; the rows that were replaced by a harmless one, by reason."""
        if self._kind == "probabilities":
            bad = _undistributed(P)
            self._temper(P)
            return bad
        bad = _infinite(P)
        if self._kind == "logits":
            P[...] = softmax(P, self._T if len(self._tempered) else 1.0)
        return bad

    def _temper(self, P: Floats) -> None:
        if self._uniform:
            P[...] = temper(P, self._T)
        elif len(self._tempered):
            P[self._tempered] = temper(P[self._tempered], self._T[self._tempered])


class _LabelGroup(_Group):
    """The same, label by label: nothing need sum to 1."""

    def calibrate(self, P: Floats) -> dict[FailureReason, Mask]:
        """Calibrate [k, n, C] in place; the rows that were replaced by a harmless one, by reason."""
        bad = _infinite(P)
        if self._kind == "logits":
            P[...] = sigmoid(P / self._T if len(self._tempered) else P)
            return bad
        if (wrong := clipped(P)) is not None:
            bad["distribution"] = wrong
        if len(self._tempered):
            P[self._tempered] = temper_labels(P[self._tempered], self._T[self._tempered])
        return bad


def _groups(members: Sequence[Member], task: Task) -> tuple[_Group, ...]:
    """Members by kind. Scores of a ranking need not be a distribution, so there only logits are calibrated."""
    kinds: dict[Kind, list[int]] = {}
    for k, member in enumerate(members):
        kind: Kind = "value" if member.kind == "probabilities" and task == "ranking" else member.kind
        kinds.setdefault(kind, []).append(k)
    make = _LabelGroup if task == "multilabel" else _Group
    return tuple(
        make(kind, index, [members[k].temperature for k in index], len(kinds) == 1) for kind, index in kinds.items()
    )


def _undistributed(P: Floats) -> dict[FailureReason, Mask]:
    """Rows that are no distribution, replaced by the uniform one."""
    sums = _row_sums(P)
    # In this order: a NaN fails the first comparison, so the second sees none.
    if _within(sums, 1.0 - SUM_TOLERANCE, 1.0 + SUM_TOLERANCE):
        entries = P.reshape(-1)
        if _within(entries, 0.0, np.inf):
            return {}
        if _within(entries, -NEGATIVE_TOLERANCE, np.inf):
            np.maximum(P, 0.0, out=P)
            return {}
    bad = _infinite(P)
    wrong = np.abs(_row_sums(P) - 1.0).reshape(P.shape[:2]) > SUM_TOLERANCE
    wrong |= P.min(axis=2) < -NEGATIVE_TOLERANCE
    if "not_finite" in bad:
        wrong &= ~bad["not_finite"]
        P[bad["not_finite"]] = 1.0 / P.shape[2]
    if wrong.any():
        bad["distribution"] = wrong
        P[wrong] = 1.0 / P.shape[2]
    np.maximum(P, 0.0, out=P)
    return bad


def _infinite(P: Floats) -> dict[FailureReason, Mask]:
    """Rows with a NaN or an infinity, replaced by zeros."""
    entries = P.reshape(-1)
    if math.isfinite(np.dot(entries, entries)):
        return {}
    wrong: Mask = np.logical_not(np.isfinite(P).all(axis=2))
    if not wrong.any():
        return {}  # squares of large finite numbers
    P[wrong] = 0.0
    return {"not_finite": wrong}


def _row_sums(P: Floats) -> Floats:
    """Sums over the classes, [K·n]. By BLAS: half the time of a reduction over a short axis."""
    K, n, C = P.shape
    sums: Floats = np.dot(P.reshape(K * n, C), np.ones(C))
    return sums


def _within(values: Floats, low: float, high: float) -> bool:
    """Whether each of the values [m] is between the bounds; false where one is NaN.

    Few values are compared in Python: two reductions of numpy cost 5 µs, 32 comparisons 1 µs (measured).
    """
    if len(values) <= FEW:
        return all(low <= value <= high for value in values.tolist())
    return bool(values.min() >= low and values.max() <= high)


def _single_column(output: Array, rows: int) -> Array | None:
    """The output as [n] when it is one column, [n] or [n, 1]; None when it is not."""
    if output.shape == (rows,):
        return output
    return output[:, 0] if output.shape == (rows, 1) else None


def _expanded(column: Array, kind: Kind, columns: int) -> Floats:
    """[n, C] of one column: a value as it is; of two classes, a sigmoid's output tells the second's share."""
    second = column.astype(np.float64)
    if columns == 1:
        return second[:, None]
    first = np.zeros_like(second) if kind == "logits" else 1.0 - second
    return np.stack((first, second), axis=1)


_SAID: dict[FailureReason | Literal["labels"], str] = {
    "not_finite": "NaN or infinite",
    "distribution": "not a distribution (each ≥ 0, sum 1 ± 0.001)",
    "labels": "not probabilities (each from 0 to 1)",
}


def _rows_told(rows: Mask, said: str, unit: str) -> str:
    where = np.flatnonzero(rows)
    return f"{len(where)} of {len(rows)} {unit} {said}, the first is {unit.removesuffix('s')} {where[0]}"
