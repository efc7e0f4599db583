"""Temperatures, weights and learned rules find optima that are known or can be searched for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.fusing.conformal import conformal_quantile
from exporter.fusing.rules import fit_rule
from exporter.fusing.selection import choose
from exporter.fusing.stacking import CLIP, FusionGraph, fit_stacker
from exporter.fusing.temperature import fit_temperature
from exporter.fusing.weights import exponentiated_gradient, greedy_selection, pool_weights, value_weights
from exporter.recipe.rule_names import RuleName
from exporter.scoring.metrics import log_loss
from exporter.scoring.objective import MetricName, Objective
from model_repo import Stacked
from server.runtime.answer.calibration import calibrate

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def sample(rows: int, seed: int = 0, classes: int = 4) -> tuple[Floats, Labels]:
    """Distributions float64 [rows, classes], and a class drawn from each: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.5), rows)
    y = (p.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1)
    return p, np.minimum(y, classes - 1).astype(np.int64)


def panel(rows: int = 600, seed: int = 1) -> tuple[Floats, Labels]:
    """Three members of different quality [3, rows, 4] and the truth."""
    p, y = sample(rows, seed)
    rng = np.random.default_rng(seed + 100)
    members = [calibrate(np.log(p + 1e-9) + rng.normal(0, noise, p.shape), "logits") for noise in (0.4, 0.8, 2.0)]
    return np.stack(members), y


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_a_temperature_that_was_applied_is_found_again(true: float) -> None:
    p, y = sample(8_000)
    distorted = calibrate(np.log(p), "logits", 1 / true)
    assert fit_temperature(distorted, "probabilities", y) == pytest.approx(true, rel=0.08)
    assert fit_temperature(np.log(p) * true, "logits", y) == pytest.approx(true, rel=0.08)


def test_rows_that_are_all_right_do_not_make_a_member_certain() -> None:
    y = np.arange(200, dtype=np.int64) % 4
    sure = np.full((200, 4), 0.05)
    sure[np.arange(200), y] = 0.85
    temperature = fit_temperature(sure, "probabilities", y)
    confidence = calibrate(sure, "probabilities", temperature).max(axis=1)
    assert confidence == pytest.approx(201 / 202, abs=1e-3)


def test_a_zero_probability_does_not_break_the_fit() -> None:
    p, y = sample(200)
    p[0] = np.eye(4)[(y[0] + 1) % 4]
    assert 0.05 <= fit_temperature(p, "probabilities", y) <= 20


def test_exponentiated_gradient_is_as_good_as_the_best_of_a_fine_grid() -> None:
    P, y = panel()
    w = exponentiated_gradient(P, y)
    assert w.sum() == pytest.approx(1)
    assert (w >= 0).all()
    steps = np.linspace(0, 1, 101)
    grid = [(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 1 + 1e-12]
    best = min(log_loss(np.tensordot(g, P, 1), y) for g in grid)
    assert log_loss(np.tensordot(w, P, 1), y) <= best + 1e-9


def test_exponentiated_gradient_recovers_the_weights_of_a_mixture() -> None:
    rng = np.random.default_rng(3)
    P = np.stack([rng.dirichlet(np.full(5, 0.3), 60_000) for _ in range(3)])
    true = np.array([0.6, 0.3, 0.1])
    mixed = np.tensordot(true, P, 1)
    y = np.minimum((mixed.cumsum(axis=1) < rng.random(len(mixed))[:, None]).sum(axis=1), 4).astype(np.int64)
    assert exponentiated_gradient(P, y) == pytest.approx(true, abs=0.02)


def test_a_member_that_knows_nothing_gets_no_weight() -> None:
    P, y = panel()
    P = np.concatenate([P, np.full((1, *P.shape[1:]), 0.25)])
    assert exponentiated_gradient(P, y)[3] < 0.01
    assert greedy_selection(P, y, [1, 1, 1, 1])[3] == 0


def test_greedy_selection_never_does_worse_than_its_best_member() -> None:
    P, y = panel()
    w = greedy_selection(P, y, [1, 1, 1])
    assert log_loss(np.tensordot(w, P, 1), y) <= min(log_loss(p, y) for p in P)
    assert np.array_equal(w, greedy_selection(P, y, [1, 1, 1]))


def test_greedy_selection_breaks_ties_by_cost_and_then_stays_with_whom_it_has() -> None:
    P, y = panel()
    twins = np.stack([P[0], P[0], P[0]])
    assert greedy_selection(twins, y, [3, 1, 2]).tolist() == [0, 1, 0]
    assert greedy_selection(twins, y, [1, 1, 1]).tolist() == [1, 0, 0]


def test_pool_weights_are_as_good_as_a_grid_of_weights_and_temperatures() -> None:
    P, y = panel(300)
    P = P[:2]
    w = pool_weights(P, y)
    L = np.log(P)

    def loss(a: float, sharpness: float) -> float:
        return log_loss(calibrate(sharpness * (a * L[0] + (1 - a) * L[1]), "logits"), y)

    sharps = np.linspace(0.5, 2, 61)
    best = min(loss(a, s) for a in np.linspace(0, 1, 51) for s in sharps)
    found = min(loss(w[0], s) for s in sharps)
    assert found <= best + 1e-3  # the pull towards equal weights may cost a little


def test_the_stacked_rule_learns_what_weights_cannot() -> None:
    """A member with two columns exchanged is worthless to every fixed rule and perfect to a learned one."""
    p, y = sample(2000)
    swapped = p[:, [1, 0, 2, 3]]
    P = np.stack([swapped, np.full_like(p, 0.25)])
    stacked = fit_rule("stacked", P, y, [1, 1])
    weighted = fit_rule("weighted", P, y, [1, 1])
    assert log_loss(stacked(P), y) < log_loss(weighted(P), y) - 0.2


@pytest.mark.parametrize("classes", [2, 4])
def test_the_fusion_graph_computes_the_regression(classes: int) -> None:
    p, y = sample(300, classes=classes)
    P = np.stack([p, p[::-1]])
    stacker = fit_stacker(P, y)
    features = np.log(np.maximum(P, CLIP)).transpose(1, 0, 2).reshape(300, -1)
    expected = calibrate(features @ stacker.weights + stacker.bias, "logits")
    found = FusionGraph(stacker.to_onnx())(P.transpose(1, 0, 2).astype(np.float32))
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_stacked_rule_names_the_digest_of_its_graph() -> None:
    import hashlib

    P, y = panel()
    rule = fit_rule("stacked", P, y, [1, 1, 1])
    assert isinstance(rule.fusion, Stacked)
    assert rule.stacker is not None
    assert rule.fusion.sha256 == hashlib.sha256(rule.stacker.data).hexdigest()
    assert rule.fusion.bytes == len(rule.stacker.data)


@pytest.mark.parametrize("name", ["mean", "weighted", "greedy", "vote", "geometric", "median", "stacked"])
def test_every_rule_is_calibrated_and_gives_distributions(name: str) -> None:
    P, y = panel(2000)
    rule = fit_rule(name, P, y, [1, 1, 1])  # type: ignore[arg-type]  # the parameter's values are the Literal's
    fused = rule(P)
    assert fused.sum(axis=1) == pytest.approx(1, abs=1e-6)
    if name != "vote":  # shares of three votes are zero where nobody voted, at any temperature
        assert abs(fit_temperature(fused, "probabilities", y) - 1) < 1e-3


def test_the_rule_within_one_standard_error_that_is_named_first_is_chosen() -> None:
    rng = np.random.default_rng(0)
    noise = rng.exponential(0.1, 500)
    losses = {"trusted": noise + rng.normal(0.001, 0.05, 500), "least": noise, "worse": noise + 1}
    losses["trusted"] += noise.mean() + 0.0005 - losses["trusted"].mean()
    assert choose(losses, "cnn", noise + 0.5, "auto")[0] == "trusted"
    assert choose({**losses, "trusted": noise + 0.3}, "cnn", noise + 0.5, "auto")[0] == "least"


def values(rows: int = 400) -> tuple[Floats, Floats]:
    """Three members of one target [3, rows, 1] with noise of 0.2, 0.5 and 2, the second 0.5 too high."""
    rng = np.random.default_rng(6)
    y = rng.normal(3, 2, rows)
    noise = rng.normal(0, 1, (3, rows)) * np.array([[0.2], [0.5], [2.0]])
    return (y + noise + np.array([[0.0], [0.5], [0.0]]))[:, :, None], y


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_weights_of_values_are_as_good_as_the_best_of_a_fine_grid(metric: MetricName) -> None:
    P, y = values()
    objective = Objective(metric)
    w = value_weights(P, y, metric)
    assert w.sum() == pytest.approx(1)
    assert (w >= 0).all()
    steps = np.linspace(0, 1, 51)
    grid = [(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 1 + 1e-12]
    best = min(objective.of(np.tensordot(g, P, 1), y) for g in grid)
    assert objective.of(np.tensordot(w, P, 1), y) <= best + 1e-4


@pytest.mark.parametrize("name", ["mean", "weighted", "greedy", "median"])
def test_every_rule_of_values_has_no_temperature_and_the_learned_ones_beat_each_member(name: RuleName) -> None:
    P, y = values()
    objective = Objective("mae")
    rule = fit_rule(name, P, y, [1, 1, 1], objective)
    assert rule.fusion.temperature == 1
    assert rule(P).shape == (len(y), 1)
    if name in ("weighted", "greedy"):
        assert objective.of(rule(P), y) <= min(objective.of(p, y) for p in P)


def test_no_rule_is_chosen_that_is_worse_than_the_best_single_member() -> None:
    losses = {"mean": np.full(50, 0.5), "vote": np.full(50, 0.6)}
    name, reason = choose(losses, "cnn", np.full(50, 0.4), "auto")
    assert name == "best single"
    assert "cnn alone" in reason
    assert choose(losses, "cnn", np.full(50, 0.4), "vote")[0] == "vote"


def test_conformal_sets_hold_the_truth_as_often_as_promised() -> None:
    p, y = sample(40_000, seed=9)
    known, new = slice(0, 2000), slice(2000, None)
    found = conformal_quantile(p[known], y[known], 0.1)
    covered = (1 - p[new][np.arange(38_000), y[new]] <= found.quantile).mean()
    # 2,000 calibration rows: the coverage varies by √(0.9 · 0.1 / 2000) = 0.0067 from one draw to the next.
    assert covered == pytest.approx(0.9, abs=4 * math.sqrt(0.9 * 0.1 / 2000))


def test_too_few_rows_for_a_quantile_take_every_class() -> None:
    p, y = sample(5)
    assert conformal_quantile(p, y, 0.1).quantile == 1.0
