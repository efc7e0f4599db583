"""Figures of probabilistic classifiers: p float [n, C] with rows that sum to 1, y int64 [n]. Plain formulas."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.floating]
Labels = NDArray[np.int64]

FLOOR = 1e-7
"""Probabilities are taken as at least this in log-losses: what float32 answers can tell from 0 (as scikit-learn)."""

BINS = 15
"""Equal-width bins of the confidence for the calibration error (Guo et al. 2017: 15)."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of a report."""

    accuracy: float
    log_loss: float
    ece: float
    brier: float
    latency_ms: float | None = None
    """Median milliseconds of one row alone, on one thread of the machine that exported."""


def measure(p: Probabilities, y: Labels) -> Metrics:
    """All figures but the latency."""
    return Metrics(accuracy=accuracy(p, y), log_loss=log_loss(p, y), ece=calibration_error(p, y), brier=brier(p, y))


def accuracy(p: Probabilities, y: Labels) -> float:
    """Share of rows whose largest probability is that of the true class; the first class wins a tie."""
    return float((p.argmax(axis=1) == y).mean())


def log_losses(p: Probabilities, y: Labels) -> NDArray[np.float64]:
    """-ln of the true class's probability, float64 [n]."""
    true = p[np.arange(len(y)), y].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.maximum(true, FLOOR))
    return losses


def log_loss(p: Probabilities, y: Labels) -> float:
    """Mean of `log_losses`, in nats."""
    return float(log_losses(p, y).mean())


def brier(p: Probabilities, y: Labels) -> float:
    """Mean over the rows of the squared distance to the one-hot truth, summed over the classes: 0 to 2."""
    distance = p.astype(np.float64)
    distance[np.arange(len(y)), y] -= 1.0
    return float((distance**2).sum(axis=1).mean())


def calibration_error(p: Probabilities, y: Labels, bins: int = BINS) -> float:
    """Expected calibration error: |accuracy - mean confidence| per bin of the confidence, weighted by rows.

    Bins are equally wide over (0, 1]; each holds its upper edge.
    """
    confidence = p.max(axis=1).astype(np.float64)
    right = (p.argmax(axis=1) == y).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(y))
