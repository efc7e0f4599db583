"""Figures of answers, as plain formulas.

Of classifiers: p float [n, C] with rows that sum to 1, y int64 [n]. Of regressions: v and y float [n].
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.floating]
Values = NDArray[np.floating]
Labels = NDArray[np.int64]

FLOOR = 1e-7
"""Probabilities are taken as at least this in log-losses: what float32 answers can tell from 0 (as scikit-learn)."""

BINS = 15
"""Equal-width bins of the confidence for the calibration error (Guo et al. 2017: 15)."""


DEPTH = 10
"""Places of a ranking that count for NDCG."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of a report: the figures that its task has."""

    accuracy: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    brier: float | None = None
    rmse: float | None = None
    mae: float | None = None
    ndcg_at_10: float | None = None
    token_error_rate: float | None = None
    micro_f1: float | None = None
    macro_f1: float | None = None
    latency_ms: float | None = None
    """Median milliseconds of one row alone, on one thread of the machine that exported."""

    def figure(self, name: str) -> float:
        """The figure of that name. Raises KeyError where the task has none."""
        found = getattr(self, name, None)
        if found is None:
            raise KeyError(f"there is no {name} among the figures")
        return float(found)


HIGHER_IS_BETTER = frozenset({"accuracy", "ndcg_at_10", "micro_f1", "macro_f1"})
"""Of the figures; of all others less is better."""


def measure(p: Probabilities, y: Labels) -> Metrics:
    """A classifier's figures, without the latency."""
    return Metrics(accuracy=accuracy(p, y), log_loss=log_loss(p, y), ece=calibration_error(p, y), brier=brier(p, y))


def measure_labels(p: Probabilities, y: Labels) -> Metrics:
    """Figures of labels that do not exclude each other, p and y [n, C]; a label holds from 0.5 on.

    `accuracy` is the share of labels that are right, `log_loss` and `brier` are means over labels and rows.
    """
    holds = p >= 0.5
    return Metrics(
        accuracy=float((holds == (y > 0)).mean()),
        log_loss=float(label_losses(p, y).mean()),
        brier=float(np.square(p.astype(np.float64) - y).mean()),
        micro_f1=float(f1(holds.reshape(-1, 1), y.reshape(-1, 1)).mean()),
        macro_f1=float(f1(holds, y).mean()),
    )


def label_losses(p: Probabilities, y: Labels) -> NDArray[np.float64]:
    """-ln of the probability of what is true, the mean over the labels of each row, float64 [n]."""
    true = np.where(y > 0, p, 1.0 - p).astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.maximum(true, FLOOR)).mean(axis=1)
    return losses


def f1(holds: NDArray[np.bool_], y: Labels) -> NDArray[np.float64]:
    """Of each column, float64 [C]: 2 · hits / (told + true); 0 where neither is ever."""
    hits, told, true = (holds & (y > 0)).sum(axis=0), holds.sum(axis=0), (y > 0).sum(axis=0)
    score: NDArray[np.float64] = 2 * hits / np.maximum(told + true, 1)
    return score


def measure_values(v: Values, y: Values, group: NDArray[np.int64] | None = None) -> Metrics:
    """A regression's figures; with more than one `group` [n] also the ranking within each."""
    several = group is not None and len(np.unique(group)) > 1
    return Metrics(
        rmse=rmse(v, y), mae=mae(v, y), ndcg_at_10=ndcg(v, y, group) if several and group is not None else None
    )


def rmse(v: Values, y: Values) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.square(v.astype(np.float64) - y).mean()))


def mae(v: Values, y: Values) -> float:
    """Mean absolute difference."""
    return float(np.abs(v.astype(np.float64) - y).mean())


def ndcg(v: Values, y: Values, group: NDArray[np.int64], depth: int = DEPTH) -> float:
    """Mean over the groups of DCG / ideal DCG of their rows ranked by v, the first `depth` places.

    Gains are 2^y - 1, discounts 1 / log2(place + 1) (Burges et al. 2005); equal scores share their gains evenly
    (McSherry and Najork 2008). Groups of one row, or with gains that are all equal, say nothing and are left out.
    """
    found = []
    for rows in _groups(group):
        gains = np.exp2(y[rows].astype(np.float64)) - 1
        if len(rows) > 1 and gains.max() > gains.min():
            found.append(_dcg(v[rows], gains, depth) / _dcg(gains, gains, depth))
    return float(np.mean(found)) if found else 1.0


def _groups(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order])) + 1
    return [part.astype(np.int64) for part in np.split(order, starts)]


def _dcg(scores: Values, gains: NDArray[np.float64], depth: int) -> float:
    order = np.argsort(-scores, kind="stable")
    _, place, count = np.unique(-scores[order], return_inverse=True, return_counts=True)
    shared = np.bincount(place, weights=gains[order]) / count
    top = shared[place][:depth]
    return float((top / np.log2(np.arange(2, len(top) + 2))).sum())


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
