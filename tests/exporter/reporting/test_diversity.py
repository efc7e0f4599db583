"""What a member adds is told with an interval that is honest, repeatable, and paired."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from exporter.assembling.comparison import Trial, compare, subsets_of
from exporter.fusing.pareto import Candidate, forward_selection, marked
from exporter.fusing.rules import calibrated_stack
from exporter.fusing.selection import fit_fusion
from exporter.fusing.subsets import drawn
from exporter.reporting.diversity import contributions, correlations, diversity
from exporter.scoring.objective import Objective
from tests.exporter.reporting.samples import classified, ledger

LOG_LOSS = Objective("log_loss")


def test_correlation_is_pearsons_and_unknown_where_errors_do_not_vary() -> None:
    rng = np.random.default_rng(1)
    errors = np.stack([rng.normal(size=200), rng.normal(size=200), np.zeros(200)])
    found = correlations(errors)
    expected = np.corrcoef(errors[:2])
    assert found[0][1] == pytest.approx(expected[0, 1])
    assert found[0][0] == pytest.approx(1)
    assert found[0][2] is None
    assert found[2] == (None, None, None)


def test_a_paired_interval_sees_what_an_unpaired_one_cannot() -> None:
    """Rows differ a hundred times more than the two rules do."""
    rng = np.random.default_rng(2)
    hard = rng.exponential(1.0, 500)
    (found,) = contributions(hard, {"cnn": hard + 0.01 + rng.normal(0, 0.02, 500)}, LOG_LOSS, seed=0)
    assert found.verdict == "helps"
    assert found.change == pytest.approx(0.01, abs=0.003)
    assert 0 < found.low < found.change < found.high < 0.02


def test_nothing_is_added_where_the_interval_holds_zero_and_harm_is_told() -> None:
    rng = np.random.default_rng(3)
    loss = rng.exponential(1.0, 400)
    noise = rng.normal(0, 0.1, 400)
    idle, harmful = contributions(loss, {"idle": loss + noise - noise.mean(), "harmful": loss - 0.05}, LOG_LOSS, seed=0)
    assert idle.verdict == "adds nothing"
    assert idle.sentence("log_loss").startswith("member 'idle' adds nothing: without it the log-loss changes by ")
    assert harmful.verdict == "harms"


def test_one_seed_gives_one_interval() -> None:
    rng = np.random.default_rng(4)
    loss, other = rng.exponential(1.0, 300), rng.exponential(1.0, 300)
    assert contributions(loss, {"a": other}, LOG_LOSS, 7) == contributions(loss, {"a": other}, LOG_LOSS, 7)
    assert contributions(loss, {"a": other}, LOG_LOSS, 7) != contributions(loss, {"a": other}, LOG_LOSS, 8)


def test_the_interval_covers_the_true_change_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for draw in range(120):
        change = rng.normal(0.02, 0.3, 150)
        base = rng.exponential(1.0, 150)
        (found,) = contributions(base, {"a": base + change}, LOG_LOSS, draw, resamples=300)
        covered += found.low <= 0.02 <= found.high
    assert 0.88 <= covered / 120 <= 1.0  # 95% ± what 120 draws and 300 resamples leave


def test_the_oracle_takes_the_best_member_of_each_row() -> None:
    y = np.array([0, 1, 0, 1])
    right, wrong = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    a = np.stack([right, right, right, right])  # right for rows 0 and 2
    b = np.stack([wrong, wrong, wrong, wrong])  # right for rows 1 and 3
    found = diversity({"a": a, "b": b}, a, {"a": b, "b": a}, y, LOG_LOSS, 0)
    assert found.oracle == 1.0
    assert found.fused == 0.5
    assert found.oracle_gap == 0.5
    assert found.disagreement == ((0.0, 1.0), (1.0, 0.0))
    assert found.error_correlation[0][1] == pytest.approx(-1)


def test_residuals_of_a_regression_are_compared_by_its_metric() -> None:
    rng = np.random.default_rng(6)
    y = rng.normal(size=300)
    shared = rng.normal(size=300)
    members = {name: (y + shared + rng.normal(0, 0.1, 300))[:, None] for name in "ab"}
    fused = (members["a"] + members["b"]) / 2
    found = diversity(members, fused, {"a": members["b"], "b": members["a"]}, y, Objective("rmse"), 0)
    assert found.disagreement is None
    assert found.closest is not None
    assert found.closest[:2] == ("a", "b")
    assert found.closest[2] > 0.95
    assert found.fused == pytest.approx(np.sqrt(np.square(fused[:, 0] - y).mean()))
    assert found.oracle < found.fused
    assert found.contributions[0].change == pytest.approx(Objective("rmse").of(members["b"], y) - found.fused)


def test_a_copy_of_a_member_adds_nothing_and_a_good_one_helps() -> None:
    (good, other, noise), y = classified([0.5, 0.9, 6.0])
    members = {"good": good, "other": other, "copy": other, "noise": noise}
    made = ledger(members, y)
    fusing = fit_fusion(made, ["weighted"], "weighted", [1] * 4, 0)
    P = calibrated_stack(made.outputs, made.kinds, fusing.temperatures)
    tested = Trial(P, y, [1.0, 2.0, 2.0, 9.0])
    found = compare(made, fusing, subsets_of(made, fusing, ["weighted"], [1] * 4, 0, LOG_LOSS), tested)
    assert found.diversity is not None
    verdicts = {each.member: each.verdict for each in found.diversity.contributions}
    assert verdicts["good"] == "helps"
    assert verdicts["copy"] != "helps"
    assert any("'copy' adds nothing" in sentence for sentence in found.diversity.sentences())
    assert found.diversity.closest is not None
    assert set(found.diversity.closest[:2]) == {"other", "copy"}
    efficient = [each for each in found.pareto if each.efficient]
    assert efficient[0].members == ("good",)
    assert all(a.validation > b.validation for a, b in pairwise(efficient))


def test_one_member_alone_has_nothing_to_be_compared_with() -> None:
    (p,), y = classified([0.5], rows=200)
    made = ledger({"only": p}, y)
    fusing = fit_fusion(made, ["mean"], "auto", [1], 0)
    P = calibrated_stack(made.outputs, made.kinds, fusing.temperatures)
    found = compare(made, fusing, subsets_of(made, fusing, ["mean"], [1], 0, LOG_LOSS), Trial(P, y, [1.0]))
    assert found.diversity is None
    assert [each.members for each in found.pareto] == [("only",)]


def test_a_large_ledger_is_compared_on_some_of_its_rows() -> None:
    (p,), y = classified([0.5], rows=500)
    some = drawn(ledger({"only": p}, y), seed=1, most=100)
    assert len(some.rows) == 100
    assert np.array_equal(some.target, y[some.rows])
    assert np.array_equal(some.outputs[0], p.astype(np.float32)[some.rows])
    assert (np.diff(some.rows) > 0).all()


def test_forward_selection_adds_what_helps_most() -> None:
    worth = {0: 3.0, 1: 5.0, 2: 1.0}
    trail = forward_selection(["a", "b", "c"], lambda members: -sum(worth[k] for k in members))
    assert trail == [(1,), (0, 1), (0, 1, 2)]


def candidate(name: str, latency: float, loss: float) -> Candidate:
    return Candidate(members=(name,), rule="single", latency_ms=latency, validation=loss, test=loss)


def test_the_pareto_list_marks_what_nothing_beats() -> None:
    given = [candidate("slow", 9, 0.2), candidate("fast", 1, 0.5), candidate("worse", 5, 0.5), candidate("mid", 4, 0.3)]
    found = marked(given)
    assert [(each.members[0], each.efficient) for each in found] == [
        ("fast", True), ("mid", True), ("worse", False), ("slow", True),
    ]  # fmt: skip
