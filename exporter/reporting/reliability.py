"""The reliability diagram: is an answer that is 80% sure right in 80% of the cases?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporter.reporting.drawing import FUSED, GRID, QUIET, SINGLE, figure_of, headed, plain, png_of
from exporter.scoring.metrics import BINS, calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


def reliability_png(ensemble: str, fused: Floats, singles: Mapping[str, Floats], y: Labels) -> bytes:
    """Accuracy against confidence of the fused answer [n, C] and of single members, above the rows of each bin."""
    figure = figure_of(6.4, 6.6)
    curves, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    curves.plot([0, 1], [0, 1], color=QUIET, lw=1, ls=(0, (4, 3)))
    shown = {"fused": fused, **singles}
    for (name, p), colour in zip(shown.items(), (FUSED, SINGLE, *(GRID,) * len(singles)), strict=False):
        _draw(curves, counts, p, y, f"{name}: ece {calibration_error(p, y):.4f}", colour)
    curves.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is right")
    curves.legend(loc="upper left", fontsize=8.5, frameon=False)
    counts.set(xlabel="confidence (largest probability)", ylabel="rows", yscale="log")
    plain(curves)
    plain(counts, "y")
    headed(figure, f"{ensemble}: reliability on {len(y)} test rows",
           f"{BINS} bins; the size of a point tells its rows; dashed: as sure as right")  # fmt: skip
    figure.subplots_adjust(left=0.11, right=0.97, top=0.885, bottom=0.08, hspace=0.07)
    return png_of(figure)


def bins(p: Floats, y: Labels, count: int = BINS) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Rows, mean confidence and accuracy per bin of the confidence, [count]; the means of an empty bin are NaN."""
    confidence = p.max(axis=1).astype(np.float64)
    place = np.clip(np.ceil(confidence * count).astype(np.int64) - 1, 0, count - 1)
    rows = np.bincount(place, minlength=count)
    with np.errstate(invalid="ignore"):
        sure = np.bincount(place, weights=confidence, minlength=count) / rows
        right = np.bincount(place, weights=(p.argmax(axis=1) == y).astype(np.float64), minlength=count) / rows
    return rows, sure, right


def _draw(curves: Axes, counts: Axes, p: Floats, y: Labels, label: str, colour: str) -> None:
    rows, sure, right = bins(p, y)
    known = rows > 0
    curves.plot(sure[known], right[known], color=colour, lw=1.4, label=label, zorder=2)
    sizes = 10 + 90 * rows[known] / rows.max()
    curves.scatter(sure[known], right[known], s=sizes, color=colour, edgecolor="white", lw=0.6, zorder=3)
    centres = (np.arange(len(rows)) + 0.5) / len(rows)
    shift = -0.2 if colour == FUSED else 0.2
    counts.bar(centres[known] + shift / len(rows), rows[known], width=0.38 / len(rows), color=colour)
