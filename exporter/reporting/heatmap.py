"""How alike the members' errors are, and what each member adds, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.reporting.diversity import Diversity
from exporter.reporting.drawing import FUSED, INK, QUIET, SINGLE, cut, figure_of, headed, plain, png_of
from exporter.scoring.objective import wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def diversity_png(ensemble: str, found: Diversity) -> bytes:
    """Error correlations as a heat map; beside it the loss without each member, with its interval."""
    members = len(found.members)
    side = 0.62 * members
    # Inches, so that cells stay square whatever the number of members and the length of their names.
    names = 0.085 * max(len(cut(name)) for name in found.members) + 0.25
    width, height = names + side + 0.5 + 4.2, max(side, 1.6) + names * 0.75 + 1.0
    figure = figure_of(max(width, 8.4), height)
    bottom, tall = (names * 0.75 + 0.1) / height, side / height
    cells = figure.add_axes((names / figure.get_figwidth(), bottom, side / figure.get_figwidth(), tall))
    left = (names + side + 0.55) / figure.get_figwidth()
    bars = figure.add_axes((left, bottom, 0.98 - left, tall))
    _draw_cells(cells, found)
    _draw_contributions(bars, found)
    kind = "errors" if found.disagreement is not None else "residuals"
    what = "accuracy" if kind == "errors" else wording(found.metric)
    oracle = f"a perfect choice among the members reaches {found.oracle:.4f}, the published rule {found.fused:.4f}"
    headed(figure, f"{ensemble}: correlation of the members' {kind}, and the loss without each member",
           f"{found.rows} validation rows; {what}: {oracle}")  # fmt: skip
    return png_of(figure)


def _draw_cells(axes: Axes, found: Diversity) -> None:
    values = np.array([[np.nan if v is None else v for v in row] for row in found.error_correlation], dtype=np.float64)
    axes.imshow(np.ma.masked_invalid(values), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (a, b), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value + 0.0:.2f}".replace("-0.00", "0.00")
        axes.text(b, a, text, ha="center", va="center", fontsize=8, color="white" if abs(value) > 0.6 else INK)
    names = [cut(name) for name in found.members]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    plain(axes, "none")


def _draw_contributions(axes: Axes, found: Diversity) -> None:
    colours = {"helps": SINGLE, "adds nothing": QUIET, "harms": FUSED}
    for place, each in enumerate(found.contributions):
        colour = colours[each.verdict]
        axes.plot([each.low, each.high], [place, place], color=colour, lw=2, solid_capstyle="butt", zorder=2)
        axes.scatter([each.change], [place], s=28, color=colour, zorder=3)
        axes.annotate(each.verdict, (max(each.high, each.change), place), xytext=(6, 0), textcoords="offset points",
                      va="center", fontsize=8, color=colour)  # fmt: skip
    axes.axvline(0, color=INK, lw=0.8, zorder=1)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.28 * (high - low))
    axes.set_yticks(range(len(found.contributions)), [""] * len(found.contributions))
    axes.set_ylim(len(found.contributions) - 0.5, -0.5)
    axes.set_xlabel(f"change of the {wording(found.metric)} without the member (95% interval)")
    plain(axes, "x")
