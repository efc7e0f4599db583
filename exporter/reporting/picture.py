"""The leaderboard as a picture: loss and latency of every member and rule, the published one marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from exporter.reporting.leaderboard import Leaderboard, Row
from exporter.scoring.objective import wording
from model_repo.wording import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _QUIET, _GRID = "#1f2933", "#7b8794", "#e4e7eb"
_MEMBER, _RULE, _PUBLISHED, _BEST = "#9fb3c8", "#52789c", "#e0692b", "#3f5f7f"
_WIDTH, _ROW_HEIGHT, _MARGIN = 10.5, 0.34, 1.9
"""Inches."""


def as_png(board: Leaderboard) -> bytes:
    """The picture as PNG, 150 dots per inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _ordered(board)
    figure = Figure(figsize=(_WIDTH, _MARGIN + _ROW_HEIGHT * (len(rows) + 1)), facecolor="white")
    FigureCanvasAgg(figure)
    losses, times = figure.subplots(1, 2, sharey=True, width_ratios=(3.2, 1))
    _draw_losses(losses, board, rows)
    _draw_times(times, rows)
    _title(figure, board)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _ordered(board: Leaderboard) -> list[Row | None]:
    """Rules above members, best first in each, a gap (None) between."""
    rules, members = (sorted(rows, key=board.loss) for rows in (board.rules(), board.members()))
    return [*rules, None, *members]


def _draw_losses(axes: Axes, board: Leaderboard, rows: Sequence[Row | None]) -> None:
    longest = max(board.loss(row) for row in rows if row is not None)
    for place, row in enumerate(rows):
        if row is None:
            continue
        loss = board.loss(row)
        axes.barh(place, loss, height=0.72, color=_colour(board, row), zorder=2)
        # What was expected from validation, as a tick on the bar: far apart means an unlucky split or a leak.
        if row.validation_loss <= longest * 1.02:
            axes.plot([row.validation_loss] * 2, [place - 0.36, place + 0.36], color=_INK, lw=1.2, zorder=3)
        strong = row.name in (board.published, board.best_single)
        text = f"{loss:.4f}   " + "   ".join(
            f"{wording(name)} {row.metrics.figure(name):.4f}" for name in board.shown[:3] if name != board.metric
        )
        at = max(loss, row.validation_loss if row.validation_loss <= longest * 1.02 else 0.0)
        axes.text(
            at + longest * 0.015,
            place,
            text,
            va="center",
            fontsize=8.5,
            color=_INK if strong else _QUIET,
            fontweight="bold" if strong else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            zorder=4,
        )
    best = board.loss(board.row(board.best_single))
    axes.axvline(best, color=_BEST, lw=1, ls=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(rows)), ["" if row is None else _label(board, row) for row in rows])
    axes.set_xlim(0, longest * 1.62)
    unit = "nats, " if board.metric == "log_loss" else ""
    what = f"{wording(board.metric)} on the test rows ({unit}lower is better)"
    axes.set_xlabel(f"{what};  | on validation;  dashed: best single member")
    axes.invert_yaxis()
    _plain(axes)


def _draw_times(axes: Axes, rows: Sequence[Row | None]) -> None:
    known = [row.metrics.latency_ms or 0.0 for row in rows if row is not None]
    for place, row in enumerate(rows):
        if row is None or row.metrics.latency_ms is None:
            continue
        axes.barh(place, row.metrics.latency_ms, height=0.72, color=_GRID, zorder=2)
        axes.text(row.metrics.latency_ms + max(known) * 0.03, place, f"{row.metrics.latency_ms:.3f}", va="center",
                  fontsize=8.5, color=_QUIET)  # fmt: skip
    axes.set_xlim(0, max(known, default=1.0) * 1.35)
    axes.set_xlabel("ms per row, one thread")
    _plain(axes)


def _plain(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(length=0, labelsize=9, colors=_INK)
    axes.xaxis.label.set(fontsize=8.5, color=_QUIET)
    axes.grid(axis="x", color=_GRID, lw=0.6, zorder=0)


def _title(figure: Figure, board: Leaderboard) -> None:
    fused, best = board.loss(board.row(board.published)), board.loss(board.row(board.best_single))
    figure.suptitle(
        f"{board.ensemble}: {board.published} over {count(len(board.kept), 'member')}, {wording(board.metric)} "
        f"{fused:.4f} against {best:.4f} of the best single member ({board.best_single})",
        x=0.02, y=0.97, ha="left", va="top", fontsize=12, fontweight="bold", color=_INK,
    )  # fmt: skip
    split = ", ".join(f"{rows} {part}" for part, rows in board.split.items())
    height = figure.get_figheight()
    figure.text(0.02, 0.97 - 0.3 / height, f"Rows: {split}.  Seed {board.seed}, preset {board.preset}.",
                ha="left", va="top", fontsize=9, color=_QUIET)  # fmt: skip
    figure.subplots_adjust(left=0.15, right=0.985, top=1 - 0.8 / height, bottom=0.55 / height, wspace=0.05)


def _label(board: Leaderboard, row: Row) -> str:
    if row.name == board.published:
        return f"published ▸ {row.name}"
    return f"{row.name} ({row.family})" if row.family and row.family != row.name else row.name


def _colour(board: Leaderboard, row: Row) -> str:
    if row.name == board.published:
        return _PUBLISHED
    if row.name == board.best_single:
        return _BEST
    return _RULE if row.kind == "rule" else _MEMBER
