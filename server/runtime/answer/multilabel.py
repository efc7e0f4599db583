"""Probabilities label by label: every column is a question of its own, and rows need not sum to 1. Float64.

What classes do with logarithms and softmax, labels do with log-odds and the sigmoid.
"""

from __future__ import annotations

import numpy as np

from model_repo import Manifest
from server.runtime.datatypes import Floats, Mask

TOLERANCE = 1e-6
"""How far beyond 0 or 1 a probability may be: rounding, and taken as 0 or 1."""
ROUNDING = 1e-14
"""Of a sum of up to 256 weights."""


def thresholds(manifest: Manifest) -> Floats:
    """The probability from which on each label holds, [C]."""
    return np.array(manifest.label_thresholds, dtype=np.float64)


def sigmoid(Z: Floats) -> Floats:
    """1 / (1 + exp(-z)) of float64; ±infinity gives 1 and 0, and nothing overflows."""
    tail = np.exp(-np.abs(Z))
    either: Floats = np.where(Z >= 0.0, 1.0, tail) / (1.0 + tail)
    return either


def log_odds(P: Floats) -> Floats:
    """log(p / (1 - p)) of p in [0, 1]; ±infinity at the ends."""
    with np.errstate(divide="ignore"):
        odds: Floats = np.log(P) - np.log1p(-P)
    return odds


def temper(P: Floats, temperature: float | Floats) -> Floats:
    """sigmoid(log-odds of p / T) of float64 [..., C] in [0, 1]: 0, ½ and 1 stay what they are.

    A sum of weights may be 1 ± rounding, which is taken as 1: its log-odds would be 36, or nothing at all.
    """
    return sigmoid(log_odds(np.where(P > 1.0 - ROUNDING, 1.0, P)) / temperature)


def held(P: Floats, at_least: Floats) -> Mask:
    """Whether each label holds, bool [..., C]; never where p is NaN."""
    with np.errstate(invalid="ignore"):
        verdict: Mask = at_least <= P
    return verdict


def binary_entropy(P: Floats) -> Floats:
    """-p log p - (1 - p) log(1 - p) of each entry, in nats; 0 log 0 is 0, NaN stays NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        nats: Floats = -(np.where(P > 0.0, P * np.log(P), 0.0) + np.where(P < 1.0, (1.0 - P) * np.log1p(-P), 0.0))
    return np.where(np.isnan(P), np.nan, nats)


def clipped(P: Floats) -> Mask | None:
    """Clip [k, n, C] in place to [0, 1]; bool [k, n] of the rows with an entry too far outside, None when none is.

    Such rows, and their NaN, are replaced by ½.
    """
    if not P.size or (P.min() >= 0.0 and P.max() <= 1.0):
        return None
    inside = (P >= -TOLERANCE) & (P <= 1.0 + TOLERANCE)
    wrong: Mask = np.logical_not(inside.all(axis=2))
    P[wrong] = 0.5
    np.clip(P, 0.0, 1.0, out=P)
    return wrong if wrong.any() else None
