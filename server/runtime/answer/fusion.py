"""The rules that turn member outputs [K, n, C] into one answer [n, C]. Pure numpy, float64 inside.

A member that is masked for a row is skipped, never multiplied by zero (0 × NaN is NaN), and the weights are
renormalised over those that answered. Where they all weigh nothing, they count equally. A row that no
member answered is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_repo import Concatenate, Fusion, Geometric, Mean, Median, ReciprocalRank, Stacked, Vote, Weighted
from model_repo.format.manifest import THRESHOLD, Task
from server.runtime.answer import multilabel as labelwise
from server.runtime.answer.calibration import softmax, temper
from server.runtime.datatypes import Floats, Mask

Stacker = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A learned rule: float32 [n, K, C] → [n, C]."""

ACTUALLY_TIED = 1e-9
"""Vote shares closer than this are a tie: sums of the same weights in another order differ by 1e-16."""

_WEIGHTLESS = (Mean, Median)


def shares(fusion: Fusion, weights: ArrayLike) -> Floats:
    """The weights that the rule uses, float64 [K] with sum 1.

    `mean` and `median` count every member the same, as all rules do when every weight is zero.
    """
    w = np.asarray(weights, dtype=np.float64)
    total = w.sum()
    if isinstance(fusion, _WEIGHTLESS) or total == 0.0:
        return np.full(len(w), 1.0 / len(w))
    normal: Floats = w / total
    return normal


def row_shares(share: Floats, mask: Mask) -> Floats:
    """`share` [K] renormalised over the members that answered each row, float64 [K, n]; 0 where nobody did."""
    W = np.where(mask, share[:, None], 0.0)
    weightless = W.sum(axis=0) == 0.0
    if weightless.any():
        W[:, weightless] = mask[:, weightless]
    total = W.sum(axis=0)
    normal: Floats = W / np.where(total == 0.0, 1.0, total)
    return normal


def fuse(
    fusion: Fusion,
    P: NDArray[np.floating],
    weights: ArrayLike,
    mask: Mask | None = None,
    stacker: Stacker | None = None,
    task: Task = "classification",
    thresholds: ArrayLike = THRESHOLD,
) -> Floats:
    """The fused answer, float64 [n, C], of calibrated outputs `P` [K, n, C].

    `weights` [K] ≥ 0, `mask` bool [K, n] tells who answered which row (None: all). `stacker` is needed by the
    stacked rule alone; rows that a member is missing from get its fallback, with the fallback's temperature.
    The rule's temperature comes last, for votes too (it sharpens or flattens the shares and keeps ties); 1 leaves
    the answer as it is.
    """
    if isinstance(fusion, Stacked):
        if stacker is None:
            raise ValueError("the stacked rule needs its fusion.onnx as `stacker`")
        return _stacked(fusion, np.asarray(P, dtype=np.float64), weights, mask, stacker)
    return Rule(fusion, weights, task, thresholds)(np.asarray(P, dtype=np.float64), mask)


class Rule:
    """A fixed rule bound to its weights, so that a batch pays for arithmetic only. Stateless; any thread.

    `thresholds` [C], or one for all, are those from which on a member of a multilabel votes for a label.
    """

    def __init__(
        self,
        fusion: Fusion,
        weights: ArrayLike,
        task: Task = "classification",
        thresholds: ArrayLike = THRESHOLD,
    ) -> None:
        self.share = shares(fusion, weights)
        self._temperature = fusion.temperature
        self._combine = _combination(fusion, task, np.asarray(thresholds, dtype=np.float64))
        self._temper = labelwise.temper if task == "multilabel" else temper

    def __call__(self, P: Floats, mask: Mask | None = None) -> Floats:
        """float64 [n, C] from float64 [K, n, C]; entries of `P` where `mask` is False may be NaN."""
        if mask is None:
            fused = self._combine(P, self.share[:, None], None)
            return fused if self._temperature == 1.0 else self._temper(fused, self._temperature)
        answered = mask.any(axis=0)
        filled = np.where(mask[:, :, None], P, 1.0)  # any positive number: its weight is never used
        fused = self._combine(filled, row_shares(self.share, mask), mask)
        if self._temperature != 1.0:
            fused[~answered] = 1.0
            fused = self._temper(fused, self._temperature)
        fused[~answered] = np.nan
        return fused


_Combination = Callable[[Floats, Floats, Mask | None], Floats]
"""P [K, n, C], weights [K, n] or [K, 1], mask [K, n] or None → fused [n, C]; rows without a member: anything."""


def _combination(fusion: Fusion, task: Task, thresholds: Floats) -> _Combination:
    match fusion:
        case Vote() if task == "multilabel":
            return lambda P, W, mask: _weighted(labelwise.held(P, thresholds).astype(np.float64), W, mask)
        case Geometric(floor=floor) if task == "multilabel":
            return lambda P, W, mask: _odds_pool(np.clip(P, floor, 1.0 - floor), W, mask)
        case Median() if task != "classification":
            return _middle
        case Mean() | Weighted():
            return _weighted
        case Vote():
            return lambda P, W, mask: _weighted(votes(P), W, mask)
        case Geometric(floor=floor):
            return lambda P, W, mask: softmax(_weighted(np.log(np.maximum(P, floor)), W, mask))
        case Median():
            return _median
        case ReciprocalRank(constant=constant):
            return lambda P, W, mask: _weighted(1.0 / (constant + ranks(P)), W, mask)
        case Stacked():
            raise TypeError("the stacked rule is learned; `Stacking` runs it")
        case Concatenate():
            raise TypeError("vectors are put together by `Concatenation`")


def _weighted(P: Floats, W: Floats, mask: Mask | None) -> Floats:
    """Σ_k w_k p_k. Masked entries of P are finite here, and their weight is zero."""
    if W.shape[1] == 1:
        K, n, C = P.shape
        flat: Floats = np.dot(W[:, 0], P.reshape(K, n * C)).reshape(n, C)
        return flat
    summed: Floats = np.einsum("kn,knc->nc", W, P)
    return summed


def votes(P: Floats) -> Floats:
    """1 at each member's own class, 0 elsewhere; float64 [K, n, C]. A member's own tie goes to its first class."""
    ballots = np.zeros_like(P)
    np.put_along_axis(ballots, P.argmax(axis=2)[:, :, None], 1.0, axis=2)
    return ballots


def ranks(S: Floats) -> Floats:
    """Each candidate's rank by score, 1 the best, float64 [K, n, C]; equal scores keep the candidates' order."""
    order = np.argsort(-S, axis=2, kind="stable")
    places = np.empty_like(S)
    np.put_along_axis(places, order, np.arange(1.0, S.shape[2] + 1.0)[None, None, :], axis=2)
    return places


def _odds_pool(P: Floats, W: Floats, mask: Mask | None) -> Floats:
    """sigmoid(Σ_k w_k log(p_k / (1 - p_k))), entry by entry."""
    return labelwise.sigmoid(_weighted(labelwise.log_odds(P), W, mask))


def _middle(P: Floats, W: Floats, mask: Mask | None) -> Floats:
    """The median of each column, which need not sum to anything."""
    return np.median(P, axis=0) if mask is None else _masked_median(P, mask)


def _median(P: Floats, W: Floats, mask: Mask | None) -> Floats:
    """Median per class, renormalised where there are classes; for one column the median itself.

    Medians of members that contradict each other can be zero for every class: that row gets the mean.
    """
    middle: Floats = np.median(P, axis=0) if mask is None else _masked_median(P, mask)
    if P.shape[2] == 1:
        return middle
    total = middle.sum(axis=1, keepdims=True)
    if (total > 0.0).all():
        middle /= total
        return middle
    mean = _weighted(P, W, mask)
    safe = np.where(total > 0.0, total, 1.0)
    either: Floats = np.where(total > 0.0, middle / safe, mean)
    return either


def _masked_median(P: Floats, mask: Mask) -> Floats:
    """The median over the members that answered: sort with the others last, take the middle of the count."""
    S = np.sort(np.where(mask[:, :, None], P, np.inf), axis=0)
    count = mask.sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(P) - 1)
    rows = np.arange(P.shape[1])
    pair = S[low, rows], S[high, rows]
    middle: Floats = np.where((count > 0)[:, None], (pair[0] + pair[1]) / 2.0, 1.0)
    return middle


def _stacked(fusion: Stacked, P: Floats, weights: ArrayLike, mask: Mask | None, stacker: Stacker) -> Floats:
    if mask is None:
        return learned(P, stacker, fusion.temperature)
    complete = mask.all(axis=0)
    fused = Rule(fusion.fallback, weights)(P, mask)
    if complete.any():
        fused[complete] = learned(P[:, complete], stacker, fusion.temperature)
    return fused


def learned(P: Floats, stacker: Stacker, temperature: float) -> Floats:
    """The stacker's answer for complete rows, tempered; float64 [n, C]. Raises what `stacker` raises."""
    rows = np.ascontiguousarray(P.transpose(1, 0, 2), dtype=np.float32)
    fused = np.asarray(stacker(rows), dtype=np.float64)
    return fused if temperature == 1.0 else temper(fused, temperature)


def winners(fusion: Fusion, fused: Floats, P: Floats, mask: Mask | None = None) -> NDArray[np.intp]:
    """The class of each row, [n]: the largest fused probability; for votes, a tie goes to the larger mean.

    A tie that the mean leaves too goes to the class named first.
    """
    first: NDArray[np.intp] = fused.argmax(axis=1)
    if not isinstance(fusion, Vote):
        return first
    tied = fused >= fused.max(axis=1, keepdims=True) - ACTUALLY_TIED
    if (tied.sum(axis=1) == 1).all():
        return first
    mean = Rule(Mean(), np.ones(len(P)))(P, mask)
    broken: NDArray[np.intp] = np.where(tied, mean, -1.0).argmax(axis=1)
    return broken
