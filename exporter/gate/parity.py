"""The gate between training and publication: does the ONNX graph compute what the trained member does?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.errors import ConversionError, ParityError
from exporter.gate.sweep import BATCH_ROWS, Form, Sweep
from exporter.members.base import Tolerance
from exporter.scoring.metrics import accuracy, log_loss
from model_repo.format.manifest import Kind
from server.runtime.answer.calibration import calibrate
from server.runtime.golden.closeness import closeness, typical

MAX_LOG_LOSS_CHANGE = 1e-4
MAX_RMSE_CHANGE = 1e-3
"""Of a regression, as a share of the error itself."""
_SHOWN = 5

Answer = Callable[[Mapping[str, Array]], NDArray[np.float32]]
"""Inputs [n, …] → raw output float32 [n, C]."""


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """What the sweep saw: rows, largest absolute difference of the raw output, batch sizes, forms beside the plain."""

    rows: int
    largest_difference: float
    batch_rows: tuple[int, ...] = BATCH_ROWS
    forms: tuple[str, ...] = ()


def check_parity(trained: Answer, exported: Answer, sweep: Sweep, kind: Kind, tolerance: Tolerance) -> Parity:
    """The differences found, all within `tolerance`; ParityError naming rows, batch size and length otherwise.

    Rows go through the graph in batches of 1, 2, 7 and 33, and where they have lengths also cut to length 1, filled
    up to the greatest, and padded as a server pads: the answer must not hang on that. Checked in turn: shape and
    finiteness, closeness row by row, classes that flip, figures, and that a second run gives the same bits.
    """
    plain = _asked(trained, sweep.inputs, "")
    largest, forms = 0.0, []
    for form in sweep.forms():
        expected = plain if form.inputs is sweep.inputs else _asked(trained, form.inputs, form.where)
        for rows in BATCH_ROWS:
            some = sweep.few(form, rows)
            wanted = expected if some is form else _rows_of(expected, form, some)
            found = _answered(exported, some, rows)
            largest = max(largest, _compare(wanted, found, some, sweep.target, kind, tolerance, rows))
        forms += [form.where] if form.where else []
    once = next(Form("", sweep.inputs, sweep.names, 0).batches(BATCH_ROWS[-1]))
    if not np.array_equal(exported(once), exported(once)):
        raise ParityError("two runs of the same rows give different bits")
    return Parity(rows=len(plain), largest_difference=largest, forms=tuple(forms))


def _asked(trained: Answer, inputs: Mapping[str, Array], where: str) -> NDArray[np.float32]:
    try:
        return trained(inputs)
    except (RuntimeError, ValueError, IndexError) as error:
        # What a network raises for a length that it cannot take; a server may send it.
        raise ParityError(f"the member itself fails on rows {where or 'as given'}: {_line(error)}") from error


def _answered(exported: Answer, form: Form, rows: int) -> NDArray[np.float32]:
    try:
        return np.concatenate([exported(part) for part in form.batches(rows)])
    except ConversionError as error:
        raise ParityError(f"{_where(form, rows)} {_line(error)}") from error


def _rows_of(expected: NDArray[np.float32], form: Form, some: Form) -> NDArray[np.float32]:
    """The answers to the rows of `some`: its real rows are the form's first ones, its edge rows all of them."""
    return np.concatenate([expected[: some.real], expected[form.real :]])


def _compare(
    expected: NDArray[np.float32],
    found: NDArray[np.float32],
    form: Form,
    target: Array,
    kind: Kind,
    tolerance: Tolerance,
    rows: int,
) -> float:
    where = _where(form, rows)
    if found.shape != expected.shape:
        raise ParityError(f"{where} the graph gives {list(found.shape)}, the member {list(expected.shape)}")
    if not np.isfinite(found).all():
        wild = np.logical_or.reduce(~np.isfinite(found), axis=1)
        raise ParityError(f"{where} the graph gives values that are not finite: {_named(wild, form)}")
    atol = tolerance.atol
    if kind == "value":  # a small value among large ones has their rounding: a sum of large terms
        atol = max(atol, tolerance.rtol * typical(expected))
    near = closeness(found, expected, atol, tolerance.rtol, by_row=kind == "logits")
    outside = np.logical_or.reduce(near.far, axis=1)
    if outside.mean() > 1 - tolerance.share:
        raise ParityError(
            f"{where} {outside.sum()} of {len(outside)} rows differ, by up to {near.difference.max():.3g} "
            f"(tolerance {atol:g} + {tolerance.rtol:g} × value): {_named(outside, form)}"
        )
    y = target[: form.real]
    if kind == "value":
        _compare_values(expected[: form.real], found[: form.real], y, where, tolerance.rtol)
    elif target.ndim == 1:  # labels that do not exclude each other have no class that flips
        _compare_classes(calibrate(expected, kind), calibrate(found, kind), form, y, tolerance, where)
    return float(near.difference.max())


def _compare_values(expected: Array, found: Array, y: Array, where: str, rtol: float) -> None:
    """Of values [n, d] and their targets [n] or [n, d]: the figure may change by its share and by the values' rounding,
    which is all where the member errs nowhere."""
    rounding = rtol * float(np.sqrt(np.square(expected.astype(np.float64)).mean()))
    y = y.reshape(expected.shape)
    before, after = (float(np.sqrt(np.square(each.astype(np.float64) - y).mean())) for each in (expected, found))
    if abs(after - before) > MAX_RMSE_CHANGE * before + rounding + 1e-9:
        raise ParityError(f"{where} the rmse changes from {before:.6g} to {after:.6g}")


def _compare_classes(
    expected: NDArray[np.float64],
    found: NDArray[np.float64],
    form: Form,
    y: Array,
    tolerance: Tolerance,
    where: str,
) -> None:
    best = np.sort(expected, axis=1)
    decided = best[:, -1] - best[:, -2] > tolerance.flip_margin
    flipped = decided & (expected.argmax(axis=1) != found.argmax(axis=1))
    if flipped.any():
        raise ParityError(f"{where} the class changes: {_named(flipped, form)}")
    if not form.whole:
        return
    real = slice(len(y))
    change = log_loss(found[real], y) - log_loss(expected[real], y)
    if abs(change) > MAX_LOG_LOSS_CHANGE:
        raise ParityError(f"{where} the log-loss changes by {change:+.2g}, at most {MAX_LOG_LOSS_CHANGE:g} is allowed")
    # Undecided rows may flip: they can move the accuracy by their own share and no more.
    if abs(accuracy(found[real], y) - accuracy(expected[real], y)) > (~decided[real]).mean():
        raise ParityError(f"{where} the accuracy changes from {accuracy(expected[real], y):.4f} to "
                          f"{accuracy(found[real], y):.4f}")  # fmt: skip


def _where(form: Form, rows: int) -> str:
    return f"in batches of {rows}{', ' if form.where else ''}{form.where}"


def _named(mask: NDArray[np.bool_], form: Form) -> str:
    places = np.flatnonzero(mask)
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(form.names[place] for place in places[:_SHOWN]) + more


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
