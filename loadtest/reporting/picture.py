"""Latency over time as a PNG: every request a dot, swaps as lines, what failed in red."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loadtest.errors import ScenarioError
from loadtest.load.outcome import Outcome
from loadtest.load.record import Sample
from loadtest.reporting.report import Report
from model_repo.cli.distribution import install_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_DOTS = 30_000
"""More dots than this say no more and take long to draw; the slowest are always kept."""

FLOOR_MS = 0.01
"""What took less is drawn here: a logarithm needs a floor."""

_COLOURS = ("#2a6fbb", "#e08a1e", "#3b9c6d", "#8a5fb0", "#c2588c", "#7a6a53", "#4fb3bf", "#9aa02c")
_RED = "#c62828"
_INK = "#333333"


def require_matplotlib() -> None:
    """Raises ScenarioError, before any load is made, where no picture could be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ScenarioError(f"--out draws a picture with matplotlib: {install_extra('loadtest')}") from error


def draw(report: Report, sample: Sample, path: Path) -> None:
    """Write the picture of a run; `sample` is the run's, with its warm-up."""
    figure_of(report, sample).savefig(path, dpi=130)


def figure_of(report: Report, sample: Sample) -> Figure:
    """The picture as matplotlib has it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    measured = sample.between(0.0, report.duration_s)
    _dots(upper, measured)
    _quantiles(upper, report)
    _failures(upper, measured)
    _swap_lines((upper, lower), report)
    _throughput(lower, report, measured)
    figure.legend(*upper.get_legend_handles_labels(), loc="upper right", frameon=False, fontsize=9, ncols=7)
    figure.suptitle(_title(report), x=0.01, ha="left", fontsize=12, color=_INK)
    upper.set_title(_subtitle(report), loc="left", fontsize=9, color="#666666")
    for axes in (upper, lower):
        _plain(axes)
    return figure


def _title(report: Report) -> str:
    figures = f"{report.answered_rps:,.0f} answered/s, p99 {_ms(report.latency.p99_ms)}"
    return f"{report.scenario} — {report.ensemble}: {figures}"


def _subtitle(report: Report) -> str:
    found = report.latency
    parts = [f"p50 {_ms(found.p50_ms)}", f"p99.9 {_ms(found.p999_ms)}", f"max {_ms(found.max_ms)}"]
    failed = report.requests - found.count
    parts.append(f"{report.requests:,} requests, {failed:,} not answered")
    if report.swaps_together is not None:
        ratio = report.swaps_together.p99_ratio
        parts.append(f"{len(report.swaps)} swaps" + (f", p99 in the swap second {ratio:.2f}×" if ratio else ""))
    if report.client.saturated:
        parts.append("generator saturated")
    return "   ·   ".join(parts)


def _dots(axes: Axes, sample: Sample) -> None:
    answered = _thinned(sample.where(sample.answered))
    versions = np.unique(answered.version).tolist()
    for number, version in enumerate(versions):
        of_it = answered.where(answered.version == version)
        colour = _COLOURS[number % len(_COLOURS)]
        axes.scatter(of_it.scheduled, of_it.latency * 1e3, s=5, color=colour, alpha=0.45, linewidths=0, rasterized=True)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel("latency, ms", color=_INK)


def _failures(axes: Axes, sample: Sample) -> None:
    """Each request without an answer: a mark at the time it took, and a tick on the edge, whatever that time was."""
    others = sample.where(~sample.answered)
    for outcome in Outcome:
        of_it = others.where(others.outcome == outcome)
        if not len(of_it):
            continue
        shown = _thinned(of_it)
        marker = "|" if outcome is Outcome.REFUSED else "x"
        heights = np.maximum(shown.latency * 1e3, FLOOR_MS)
        label = f"{len(of_it):,} {outcome.label.replace('_', ' ')}"
        axes.scatter(shown.scheduled, heights, s=40, marker=marker, color=_RED, linewidths=1.2, label=label)
        edge = axes.get_xaxis_transform()  # x in seconds, y as a share of the panel
        axes.vlines(shown.scheduled, 0.965, 1.0, transform=edge, color=_RED, linewidth=1.0, rasterized=True)


def _thinned(sample: Sample) -> Sample:
    if len(sample) <= MAX_DOTS:
        return sample
    slowest = np.argsort(sample.latency)[-MAX_DOTS // 10 :]
    evenly = np.linspace(0, len(sample) - 1, MAX_DOTS - len(slowest)).astype(np.intp)
    return sample.where(np.union1d(slowest, evenly))


def _quantiles(axes: Axes, report: Report) -> None:
    """The middle of each bin, and its 99th percentile where every bin has answers enough for one, else its maximum."""
    edges = _edges(report)
    filled = [one for one in report.timeline if one.answered]
    enough = bool(filled) and all(one.p99_ms is not None for one in filled)
    upper = [one.p99_ms if enough else one.max_ms for one in report.timeline]
    for name, values, width in (
        ("p50", [one.p50_ms for one in report.timeline], 1.2),
        ("p99" if enough else "maximum", upper, 1.8),
    ):
        heights: NDArray[Any] = np.array([np.nan if value is None else value for value in values])
        style = (0, (4, 2)) if name == "p50" else "-"
        axes.stairs(heights, edges, color=_INK, linewidth=width, linestyle=style, baseline=None, label=name)


def _swap_lines(panels: tuple[Axes, Axes], report: Report) -> None:
    upper = panels[0]
    for number, swap in enumerate(report.swaps):
        hidden = "_" if number else ""  # one entry in the legend, not one for each swap
        for axes in panels:
            axes.axvline(swap.published_s, color="#777777", linewidth=0.9, linestyle=":", label=f"{hidden}published")
            if swap.first_answer_s is not None:
                axes.axvline(swap.first_answer_s, color=_INK, linewidth=0.8, label=f"{hidden}first answer")
        if len(report.swaps) <= 20 or number % (len(report.swaps) // 10) == 0:
            at = swap.published_s if swap.first_answer_s is None else swap.first_answer_s
            upper.annotate(
                f" v{'?' if swap.version is None else swap.version}",
                (at, 0.005),
                xycoords=("data", "axes fraction"),
                fontsize=8,
                color=_INK,
                va="bottom",
            )


def _throughput(axes: Axes, report: Report, sample: Sample) -> None:
    edges = _edges(report)
    widths = np.diff(edges)
    answered = np.histogram(sample.scheduled[sample.answered], edges)[0] / widths
    failed = np.histogram(sample.scheduled[~sample.answered], edges)[0] / widths
    axes.stairs(answered, edges, fill=True, color="#b9d0e8")
    if failed.any():
        axes.stairs(answered + failed, edges, baseline=answered, fill=True, color=_RED, alpha=0.7)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, report.duration_s)
    axes.set_ylabel("requests/s", color=_INK)
    axes.set_xlabel("seconds", color=_INK)


def _edges(report: Report) -> NDArray[np.float64]:
    return np.array([*(one.start_s for one in report.timeline), report.duration_s])


def _plain(axes: Axes) -> None:
    axes.grid(visible=True, which="major", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors="#666666", labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g} ms"
