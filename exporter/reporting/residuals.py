"""Pictures of a regression: predicted against true, and how the errors are spread."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.reporting.drawing import FUSED, INK, QUIET, SINGLE, figure_of, headed, plain, png_of

Floats = NDArray[np.floating[Any]]

MOST_POINTS = 5000
"""Drawn of the scatter; more make no difference to the eye and a large file."""


def residuals_png(ensemble: str, fused: Floats, best: Floats, best_name: str, y: Floats) -> bytes:
    """Fused values [n] against the truth [n], and histograms of the residuals of fused and best single member."""
    figure = figure_of(9.6, 4.8)
    points, spread = figure.subplots(1, 2)
    some = np.linspace(0, len(y) - 1, min(len(y), MOST_POINTS)).astype(np.int64)
    low, high = float(min(y.min(), fused.min())), float(max(y.max(), fused.max()))
    points.scatter(y[some], fused[some], s=7, alpha=max(0.08, min(0.6, 300 / len(some))), color=FUSED, edgecolor="none")
    points.plot([low, high], [low, high], color=INK, lw=0.9, ls=(0, (4, 3)))
    points.set(xlabel="true", ylabel="fused answer")
    residuals = {"fused": fused - y, best_name: best - y}
    # 1 in 100 rows lies outside: a few wild ones must not squeeze all others into one bar.
    edge = float(np.quantile(np.abs(np.concatenate(list(residuals.values()))), 0.99)) or 1.0
    edges = np.linspace(-edge, edge, 61)
    for (name, error), colour in zip(residuals.items(), (FUSED, SINGLE), strict=True):
        label = f"{name}: mean {error.mean():+.3g}, MAE {np.abs(error).mean():.4g}"
        spread.hist(error, edges.tolist(), histtype="step", lw=1.6, color=colour, label=label)
    spread.axvline(0, color=QUIET, lw=0.8)
    spread.set(xlabel="answer minus truth (the middle 99%)", ylabel="rows")
    spread.set_ylim(0, spread.get_ylim()[1] * 1.18)
    spread.legend(loc="upper left", fontsize=8.5, frameon=False)
    plain(points)
    plain(spread, "y")
    headed(figure, f"{ensemble}: answers to {len(y)} test rows",
           f"fused beside {best_name}, the best single member; on the dashed line an answer is exact")  # fmt: skip
    figure.subplots_adjust(left=0.075, right=0.98, top=0.85, bottom=0.11, wspace=0.2)
    return png_of(figure)
