"""Labels that do not exclude each other, each with its threshold and its figures on the test rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.scoring.metrics import FLOOR, f1

Floats = NDArray[np.float64]


class LabelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One label in the leaderboard."""

    name: str
    holds: float
    """Share of the test rows that have it."""
    threshold: float
    """The published one; 0.5 where the rule has none of its own."""
    f1: float
    """Of the published rule at that threshold."""
    log_loss: float
    """Of the published rule."""
    best_single_log_loss: float
    """Of the best single member."""


def label_rows(
    names: Sequence[str], thresholds: Sequence[float], fused: Floats, best_single: Floats, target: NDArray[np.int64]
) -> tuple[LabelRow, ...]:
    """A row for each label, of answers [n, C] to rows with target int64 [n, C]; none for another task."""
    if target.ndim != 2 or not names:
        return ()
    scores = f1(fused >= np.asarray(thresholds), target)
    return tuple(
        LabelRow(
            name=name,
            holds=round(float(target[:, place].mean()), 6),
            threshold=thresholds[place],
            f1=round(float(scores[place]), 6),
            log_loss=_log_loss(fused[:, place], target[:, place]),
            best_single_log_loss=_log_loss(best_single[:, place], target[:, place]),
        )
        for place, name in enumerate(names)
    )


def _log_loss(p: Floats, y: NDArray[np.int64]) -> float:
    true = np.where(y > 0, p, 1.0 - p).astype(np.float64)
    return round(float(-np.log(np.maximum(true, FLOOR)).mean()), 6)
