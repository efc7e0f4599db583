"""Fitting of labels that do not exclude each other: temperatures, weights and thresholds, label by label.

Targets are 0 or 1, [n, C]; an answer's loss is the mean over labels of -ln p of what is true.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from exporter.fusing.temperature import LARGEST, LEAST
from exporter.scoring.metrics import FLOOR
from model_repo.format.manifest import THRESHOLD, Kind
from server.runtime.answer.multilabel import log_odds, sigmoid, temper

Floats = NDArray[np.float64]
Truth = NDArray[np.int64]

PULL = 0.01
"""Of the pool's weights towards equal ones, as for classes."""
_HALVINGS = 40


def calibrated_labels(raw: NDArray[np.floating], kind: Kind, temperature: float) -> Floats:
    """Probabilities float64 [n, C] as a server calibrates a member of a multilabel."""
    values = np.asarray(raw, dtype=np.float64)
    if kind == "logits":
        return sigmoid(values / temperature)
    inside = np.clip(values, 0.0, 1.0)
    return inside if temperature == 1.0 else temper(inside, temperature)


def label_temperature(raw: NDArray[np.floating], kind: Kind, y: Truth) -> float:
    """The T with the least loss of sigmoid(z / T), z being logits or log-odds; 1 where none changes an answer.

    Targets are smoothed as Platt's (1999) are, label by label. What is certain (p of 0 or 1) stays so at any T and
    has no part in the fit.
    """
    values = raw.astype(np.float64)
    z = values if kind == "logits" else log_odds(np.clip(values, 0.0, 1.0))
    target, some = smoothed_labels(y), np.isfinite(z)
    z, target = z[some], target[some]
    if not z.size or not np.abs(z).max() > 0.0:
        return 1.0

    def slope(temperature: float) -> float:
        """Of the loss in 1 / T, in which it is convex."""
        return float(((sigmoid(z / temperature) - target) * z).mean())

    low, high = math.log(LEAST), math.log(LARGEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) < 0 else (middle, high)
    return math.exp((low + high) / 2)


def smoothed_labels(y: Truth) -> Floats:
    """Targets float64 [n, C]: (N₊ + 1) / (N₊ + 2) where a label holds, 1 / (N₋ + 2) where it does not."""
    holds = y.sum(axis=0)
    smooth: Floats = np.where(y > 0, (holds + 1) / (holds + 2), 1 / (len(y) - holds + 2))
    return smooth


def true_shares(P: Floats, y: Truth) -> Floats:
    """What each member gives to what is true, label by label, float64 [K, n · C], at least FLOOR."""
    given: Floats = np.where(y > 0, P, 1.0 - P).reshape(len(P), -1)
    return np.maximum(given, FLOOR)


def odds_pool_weights(P: Floats, y: Truth, floor: float) -> Floats:
    """Weights float64 [K], sum 1, of sigmoid(Σ_k w_k log-odds of p_k / T) with the least loss; T is fitted later."""
    from scipy.optimize import minimize

    Z = log_odds(np.clip(P, floor, 1.0 - floor)).reshape(len(P), -1)
    target = smoothed_labels(y).ravel()
    equal = np.full(len(P), 1 / len(P))

    def loss(w: Floats) -> tuple[float, Floats]:
        z = w @ Z
        value = (np.logaddexp(0.0, z) - target * z).mean() + PULL * ((w - equal) ** 2).sum()
        return float(value), Z @ (sigmoid(z) - target) / len(target) + 2 * PULL * (w - equal)

    found = minimize(loss, equal, jac=True, bounds=[(0.0, None)] * len(P), method="L-BFGS-B").x
    weights: Floats = found / found.sum() if found.sum() > 0 else equal
    return weights


def fit_thresholds(p: Floats, y: Truth) -> tuple[float, ...]:
    """Of each label the threshold with the largest F1 on the rows, between two answers; 0.5 where none holds.

    `p` float64 [n, C] are answers to rows that neither members nor rule were fitted to. Of equals the one nearest
    to 0.5 is taken.
    """
    return tuple(_threshold(p[:, label], y[:, label] > 0) for label in range(y.shape[1]))


def _threshold(p: Floats, holds: NDArray[np.bool_]) -> float:
    if not holds.any() or holds.all():
        return THRESHOLD
    order = np.argsort(-p, kind="stable")
    scores, found = p[order], np.cumsum(holds[order])
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # a threshold takes all of equal answers
    f1 = 2 * found[last] / (last + 1 + holds.sum())
    below = np.append(scores[last[1:]], 0.0) if len(last) > 1 else np.zeros(1)
    middle = (scores[last] + below) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return round(float(middle[best[np.abs(middle[best] - THRESHOLD).argmin()]]), 6)
