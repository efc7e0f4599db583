"""What every picture of a report has in common: colours, a plain frame, PNG bytes."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID = "#1f2933", "#7b8794", "#e4e7eb"
FUSED, SINGLE = "#e0692b", "#3f5f7f"
DPI = 150


def figure_of(width: float, height: float) -> Figure:
    """An empty white figure of that many inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Figure) -> bytes:
    """The figure as PNG; the same bytes for the same figure and libraries.

    Characters that the font lacks, as those of a Chinese class, are drawn as boxes; leaderboard.json has the names.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def headed(figure: Figure, title: str, note: str) -> None:
    """A bold line and a quiet one above the axes."""
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.14 / height, title, ha="left", va="top", fontsize=11, fontweight="bold", color=INK)
    figure.text(0.02, 1 - 0.42 / height, note, ha="left", va="top", fontsize=8.5, color=QUIET)


def plain(axes: Axes, grid: str = "both") -> None:
    """No box, small labels, a faint grid."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(which="both", length=0, labelsize=8.5, colors=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=8.5, color=QUIET)
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(axis=grid, color=GRID, lw=0.6)  # type: ignore[arg-type]  # matplotlib's own words for an axis


def cut(name: str, characters: int = 16) -> str:
    """A class or member's name, short enough for a tick."""
    return name if len(name) <= characters else name[: characters - 1] + "…"
