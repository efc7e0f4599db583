"""The gate between training and publication: does the ONNX graph compute what the trained member does?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array, Rows
from exporter.errors import ParityError
from exporter.families.base import Tolerance
from exporter.inference import batches
from exporter.metrics import accuracy, log_loss
from model_repo.manifest import Kind
from server.runtime.calibration import calibrate

BATCH_ROWS = (1, 2, 7, 33)
"""One row, an even and two odd sizes, none of which the graph was traced with (3)."""

MAX_LOG_LOSS_CHANGE = 1e-4
_SHOWN = 5

Answer = Callable[[Mapping[str, Array]], NDArray[np.float32]]
"""Inputs [n, …] → raw output float32 [n, C]."""


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """What the sweep saw: rows, largest absolute difference of the raw output, batch sizes."""

    rows: int
    largest_difference: float
    batch_rows: tuple[int, ...] = BATCH_ROWS


@dataclass(frozen=True)
class Sweep:
    """Rows of the sweep: real ones with their targets, then edge rows without."""

    inputs: Mapping[str, Array]
    names: Sequence[str]
    target: Array
    """Of the real rows, which come first."""

    @staticmethod
    def of(rows: Rows, edges: Mapping[str, Array]) -> Sweep:
        """The rows and the edge rows; each is named so that a message can point at it."""
        inputs = {name: np.concatenate([rows.inputs[name], edges[name]]) if edges else rows.inputs[name]
                  for name in rows.inputs}  # fmt: skip
        extra = len(next(iter(edges.values()))) if edges else 0
        names = [f"row {row}" for row in rows.ids] + [f"edge row {row}" for row in range(extra)]
        return Sweep(inputs, names, rows.target)


def check_parity(trained: Answer, exported: Answer, sweep: Sweep, kind: Kind, tolerance: Tolerance) -> Parity:
    """The differences found, all within `tolerance`; ParityError naming the rows otherwise.

    Every row goes through the graph in batches of 1, 2, 7 and 33. Checked in turn: shape and finiteness,
    closeness row by row, classes that flip, accuracy and log-loss, and that a second run gives the same bits.
    """
    expected = trained(sweep.inputs)
    largest = 0.0
    for rows in BATCH_ROWS:
        found = np.concatenate([exported(part) for part in batches(sweep.inputs, rows)])
        largest = max(largest, _compare(expected, found, sweep, kind, tolerance, rows))
    again = exported(sweep.inputs)
    if not np.array_equal(again, exported(sweep.inputs)):
        raise ParityError("two runs of the same rows give different bits")
    return Parity(rows=len(expected), largest_difference=largest)


def _compare(
    expected: NDArray[np.float32], found: NDArray[np.float32], sweep: Sweep, kind: Kind, tolerance: Tolerance, rows: int
) -> float:
    where = f"in batches of {rows}"
    if found.shape != expected.shape:
        raise ParityError(f"{where} the graph gives {list(found.shape)}, the member {list(expected.shape)}")
    if not np.isfinite(found).all():
        wild = np.logical_or.reduce(~np.isfinite(found), axis=1)
        raise ParityError(f"{where} the graph gives values that are not finite: {_named(wild, sweep)}")
    difference = np.abs(found.astype(np.float64) - expected)
    far = difference > tolerance.atol + tolerance.rtol * np.abs(expected)
    outside = np.logical_or.reduce(far, axis=1)
    if outside.mean() > 1 - tolerance.share:
        raise ParityError(
            f"{where} {outside.sum()} of {len(outside)} rows differ, by up to {difference.max():.3g} "
            f"(tolerance {tolerance.atol:g} + {tolerance.rtol:g} × value): {_named(outside, sweep)}"
        )
    if kind != "value":
        _compare_classes(calibrate(expected, kind), calibrate(found, kind), sweep, tolerance, where)
    return float(difference.max())


def _compare_classes(
    expected: NDArray[np.float64], found: NDArray[np.float64], sweep: Sweep, tolerance: Tolerance, where: str
) -> None:
    best = np.sort(expected, axis=1)
    decided = best[:, -1] - best[:, -2] > tolerance.flip_margin
    flipped = decided & (expected.argmax(axis=1) != found.argmax(axis=1))
    if flipped.any():
        raise ParityError(f"{where} the class changes: {_named(flipped, sweep)}")
    real, y = slice(len(sweep.target)), sweep.target
    change = log_loss(found[real], y) - log_loss(expected[real], y)
    if abs(change) > MAX_LOG_LOSS_CHANGE:
        raise ParityError(f"{where} the log-loss changes by {change:+.2g}, at most {MAX_LOG_LOSS_CHANGE:g} is allowed")
    # Undecided rows may flip: they can move the accuracy by their own share and no more.
    if abs(accuracy(found[real], y) - accuracy(expected[real], y)) > (~decided[real]).mean():
        raise ParityError(f"{where} the accuracy changes from {accuracy(expected[real], y):.4f} to "
                          f"{accuracy(found[real], y):.4f}")  # fmt: skip


def _named(mask: NDArray[np.bool_], sweep: Sweep) -> str:
    places = np.flatnonzero(mask)
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(sweep.names[place] for place in places[:_SHOWN]) + more
