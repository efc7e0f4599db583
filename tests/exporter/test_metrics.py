"""Metrics against formulas written out by hand and against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.metrics import accuracy, brier, calibration_error, log_loss, measure


@pytest.fixture
def rows() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(11)
    p = rng.dirichlet(np.full(4, 0.4), 300)
    return p, np.array([rng.choice(4, p=row) for row in p], dtype=np.int64)


def test_log_loss_and_brier_are_the_sums_over_rows(rows: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    p, y = rows
    by_hand = -sum(math.log(max(row[label], 1e-7)) for row, label in zip(p, y, strict=True)) / len(y)
    squares = sum((row[c] - (c == label)) ** 2 for row, label in zip(p, y, strict=True) for c in range(4)) / len(y)
    assert log_loss(p, y) == pytest.approx(by_hand, rel=1e-12)
    assert brier(p, y) == pytest.approx(squares, rel=1e-12)


def test_log_loss_and_accuracy_equal_scikit_learns(rows: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    from sklearn.metrics import accuracy_score
    from sklearn.metrics import log_loss as reference

    p, y = rows
    assert log_loss(p, y) == pytest.approx(reference(y, p, labels=range(4)), rel=1e-6)
    assert accuracy(p, y) == pytest.approx(accuracy_score(y, p.argmax(axis=1)))


def test_calibration_error_is_the_weighted_gap_of_the_bins(
    rows: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    p, y = rows
    total = 0.0
    for b in range(15):
        inside = [(row.max(), row.argmax() == label) for row, label in zip(p, y, strict=True)
                  if b / 15 < row.max() <= (b + 1) / 15]  # fmt: skip
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            right = sum(hit for _, hit in inside) / len(inside)
            total += len(inside) / len(y) * abs(right - confidence)
    assert calibration_error(p, y) == pytest.approx(total, rel=1e-9)


def test_a_certain_and_right_answer_has_no_loss_at_all() -> None:
    p = np.eye(3)
    found = measure(p, np.arange(3))
    assert (found.accuracy, found.log_loss, found.ece, found.brier) == (1.0, 0.0, 0.0, 0.0)


def test_a_certain_and_wrong_answer_costs_as_much_as_float32_can_tell() -> None:
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-math.log(1e-7))
