"""The fusion rules once more, row by row in plain Python floats: what the runtime is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_repo import Fusion, Geometric, Mean, Median, ReciprocalRank, Vote, Weighted

Row = list[float]


def fuse(fusion: Fusion, P: NDArray[np.floating], weights: Sequence[float], mask: NDArray[np.bool_]) -> list[Row]:
    """The fused rows; a row that nobody answered is NaN."""
    K, n, C = P.shape
    fused = []
    for row in range(n):
        here = [k for k in range(K) if mask[k, row]]
        if not here:
            fused.append([math.nan] * C)
            continue
        members = [[float(p) for p in P[k, row]] for k in here]
        fused.append(_row(fusion, members, _weights(fusion, [weights[k] for k in here])))
    return fused


def softmax(values: Sequence[float], temperature: float = 1.0) -> Row:
    """softmax(values / temperature)."""
    top = max(values)
    powers = [math.exp((value - top) / temperature) for value in values]
    return [power / math.fsum(powers) for power in powers]


def temper(row: Sequence[float], temperature: float) -> Row:
    """softmax(log row / temperature), with log 0 = −∞."""
    return softmax([math.log(p) if p > 0 else -math.inf for p in row], temperature)


def entropy(row: Sequence[float]) -> float:
    """In nats."""
    return -math.fsum(p * math.log(p) for p in row if p > 0)


def argmax(row: Sequence[float]) -> int:
    """The first of the largest."""
    return list(row).index(max(row))


def _weights(fusion: Fusion, weights: Sequence[float]) -> Row:
    if isinstance(fusion, Mean | Median) or not any(weights):
        return [1 / len(weights)] * len(weights)
    return [w / math.fsum(weights) for w in weights]


def _row(fusion: Fusion, members: Sequence[Row], w: Row) -> Row:
    row = _combined(fusion, members, w)
    return row if fusion.temperature == 1.0 else temper(row, fusion.temperature)


def _combined(fusion: Fusion, members: Sequence[Row], w: Row) -> Row:
    C = len(members[0])
    if isinstance(fusion, Mean | Weighted):
        return [_dot(w, [p[c] for p in members]) for c in range(C)]
    if isinstance(fusion, Vote):
        return [_dot(w, [float(argmax(p) == c) for p in members]) for c in range(C)]
    if isinstance(fusion, Geometric):
        return softmax([_dot(w, [math.log(max(p[c], fusion.floor)) for p in members]) for c in range(C)])
    if isinstance(fusion, ReciprocalRank):
        return [_dot(w, [1 / (fusion.constant + _rank(p, c)) for p in members]) for c in range(C)]
    assert isinstance(fusion, Median)
    middle = [_median(sorted(p[c] for p in members)) for c in range(C)]
    if C == 1:
        return middle
    total = math.fsum(middle)
    return [m / total for m in middle] if total > 0 else _combined(Mean(), members, w)


def _rank(scores: Row, c: int) -> int:
    """1 + how many candidates are better, or as good and named before."""
    return 1 + sum(s > scores[c] or (s == scores[c] and other < c) for other, s in enumerate(scores))


def _median(values: Row) -> float:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def _dot(w: Row, values: Row) -> float:
    return math.fsum(a * b for a, b in zip(w, values, strict=True))
