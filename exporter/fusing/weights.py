"""Weights of the members by least loss: exponentiated gradient, greedy selection, the logarithmic pool, values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.fusing.temperature import smoothed
from exporter.scoring.metrics import FLOOR
from exporter.scoring.objective import MetricName, Objective
from server.runtime.answer.calibration import softmax

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

POOL_FLOOR = 1e-6
"""Of the geometric rule, fitted and served: one confident zero costs a class at most ln 1e6 = 13.8 nats of a member's
weight."""

GREEDY_STEPS = 25
"""AutoGluon's default; its authors saw no gain beyond."""

GAP = 1e-7
"""Exponentiated gradient ends where the log-loss is at most this far from its minimum."""

SHRINKAGE = 0.01
"""Pull of the pool's weights towards equal ones; for members that are all alike, equal is the best guess."""

VALUE_SHRINKAGE = 1e-4
"""The same pull for values, whose loss is in units of the targets' variance."""

LOG_LOSS = Objective("log_loss")

_MAX_STEPS = 20_000


def exponentiated_gradient(P: Floats, y: Labels) -> Floats:
    """Weights float64 [K] on the simplex with the least log-loss of Σ_k w_k p_k, within GAP.

    `P` float64 [K, n, C] are calibrated probabilities. w_k ← w_k · exp(η g_k), renormalised, where g_k is the mean
    of p_k / Σ_j w_j p_j on the true class; η grows while the loss falls and is halved where it would not. The loss
    is convex and max g - 1 bounds its distance from the minimum (Cover 1984), so the end is certain, not guessed.
    """
    return mixture_weights(np.maximum(P[:, np.arange(len(y)), y], FLOOR))


def mixture_weights(q: Floats) -> Floats:
    """The same for `q` float64 [K, m], what each member gives to what is true."""
    w = np.full(len(q), 1 / len(q))
    mixed = w @ q
    loss, step = -np.log(mixed).mean(), 1.0
    for _ in range(_MAX_STEPS):
        gain = (q / mixed).mean(axis=1)
        if gain.max() - 1 <= GAP:
            break
        while step > 1e-12:
            moved = w * np.exp(step * (gain - gain.max()))
            moved /= moved.sum()
            tried = moved @ q
            tried_loss = -np.log(tried).mean()
            if tried_loss < loss:
                w, mixed, loss, step = moved, tried, tried_loss, step * 1.5
                break
            step /= 2
        else:
            break  # no step helps in float64: this is the minimum
    return w


def value_weights(P: Floats, y: Floats, metric: MetricName) -> Floats:
    """Weights float64 [K] on the simplex for values [K, n, d] with the least squared or absolute error.

    Absolute errors are smoothed near zero (√(d² + ε²), ε a thousandth of the targets' spread), so that the problem
    is smooth and convex; a small pull towards equal weights decides between members that are all alike.
    """
    from scipy.optimize import minimize

    V, y = P.reshape(len(P), -1), y.ravel().astype(np.float64)
    scale = float(y.std()) or float(np.abs(y).max()) or 1.0
    equal = np.full(len(V), 1 / len(V))
    width = 1e-3

    def loss(w: Floats) -> tuple[float, Floats]:
        d = (w @ V - y) / scale
        if metric == "rmse":
            value, slope = np.square(d).mean(), 2 * (V @ d) / (scale * len(y))
        else:
            root = np.sqrt(np.square(d) + width**2)
            value, slope = root.mean(), V @ (d / root) / (scale * len(y))
        pull = VALUE_SHRINKAGE * ((w - equal) ** 2).sum()
        return float(value + pull), slope + 2 * VALUE_SHRINKAGE * (w - equal)

    sums_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(len(w))}
    options = {"maxiter": 500, "ftol": 1e-12}
    found = minimize(
        loss, equal, jac=True, bounds=[(0.0, 1.0)] * len(V), constraints=[sums_to_one], method="SLSQP", options=options
    ).x
    weights: Floats = np.clip(found, 0.0, None) / np.clip(found, 0.0, None).sum()
    return weights


def greedy_selection(
    P: Floats, y: Array, costs: Sequence[float], objective: Objective = LOG_LOSS, steps: int = GREEDY_STEPS
) -> Floats:
    """Weights float64 [K] by Caruana's selection with replacement (2004) on the objective.

    Each step adds the member that helps the mean most. Ties go to a member that is in already, then to the cheaper
    one (`costs`, e.g. milliseconds), then to the first. The shortest selection with the least loss is kept.
    """
    counts = np.zeros(len(P), dtype=np.int64)
    total = np.zeros(P.shape[1:])
    trail: list[tuple[float, NDArray[np.int64]]] = []
    for step in range(1, steps + 1):
        losses = [objective.of((total + p) / step, y) for p in P]
        best = min(losses)
        tied = [k for k, loss in enumerate(losses) if loss <= best + 1e-12]
        chosen = min(tied, key=lambda k: (counts[k] == 0, costs[k], k))
        counts[chosen] += 1
        total += P[chosen]
        trail.append((losses[chosen], counts.copy()))
    least = min(loss for loss, _ in trail)
    selection = next(found for loss, found in trail if loss <= least + 1e-12)
    weights: Floats = selection / selection.sum()
    return weights


def pool_weights(P: Floats, y: Labels) -> Floats:
    """Weights float64 [K], sum 1, of the logarithmic pool softmax(Σ_k w_k log p_k / T) with the least log-loss.

    The pool with free non-negative weights is a log-linear model, so the fit is convex; its sum is the pool's
    1 / T and is fitted anew with the rule's temperature. Targets are smoothed as for temperatures.
    """
    from scipy.optimize import minimize

    L = np.log(np.maximum(P, POOL_FLOOR))
    target = smoothed(y, P.shape[2])
    equal = np.full(len(P), 1 / len(P))
    seen = np.einsum("nc,knc->k", target, L) / len(y)

    def loss(w: Floats) -> tuple[float, Floats]:
        scores = np.tensordot(w, L, 1)
        shares = softmax(scores)
        normaliser = scores.max(axis=1) - np.log(shares.max(axis=1))
        slope = np.einsum("nc,knc->k", shares, L) / len(y) - seen
        penalty = SHRINKAGE * ((w - equal) ** 2).sum()
        return float(normaliser.mean() - w @ seen + penalty), slope + 2 * SHRINKAGE * (w - equal)

    found = minimize(loss, equal, jac=True, bounds=[(0.0, None)] * len(P), method="L-BFGS-B").x
    weights: Floats = found / found.sum() if found.sum() > 0 else equal
    return weights
