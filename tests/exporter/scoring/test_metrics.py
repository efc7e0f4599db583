"""Metrics against formulas written out by hand and against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.scoring.metrics import accuracy, brier, calibration_error, log_loss, measure, measure_values, ndcg


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


def test_values_are_measured_as_scikit_learn_does() -> None:
    from sklearn.metrics import mean_absolute_error, ndcg_score, root_mean_squared_error

    rng = np.random.default_rng(2)
    y, v = rng.integers(1, 6, 240).astype(np.float64), rng.normal(3, 1, 240)
    group = np.repeat(np.arange(12), 20)
    order = rng.permutation(240)
    found = measure_values(v[order], y[order], group[order])
    assert found.rmse == pytest.approx(root_mean_squared_error(y, v))
    assert found.mae == pytest.approx(mean_absolute_error(y, v))
    gains = (np.exp2(y) - 1).reshape(12, 20)
    assert found.ndcg_at_10 == pytest.approx(ndcg_score(gains, v.reshape(12, 20), k=10))


def test_equal_scores_share_their_gains_whatever_the_order_of_the_rows() -> None:
    group = np.zeros(4, dtype=np.int64)
    y = np.array([5.0, 1.0, 3.0, 2.0])
    assert ndcg(np.ones(4), y, group) == pytest.approx(ndcg(np.ones(4), y[::-1], group))
    assert ndcg(y, y, group) == 1.0
    assert ndcg(-y, y, group) < ndcg(np.ones(4), y, group) < 1.0


def test_one_group_has_no_ranking_to_report() -> None:
    y = np.array([1.0, 2.0])
    assert measure_values(y, y, np.zeros(2, dtype=np.int64)).ndcg_at_10 is None
