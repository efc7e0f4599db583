"""The Pareto list as a picture: what more milliseconds buy."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.fusing.pareto import Candidate
from exporter.reporting.drawing import FUSED, GRID, INK, QUIET, SINGLE, cut, figure_of, headed, plain, png_of
from exporter.scoring.objective import MetricName, wording


def front_png(ensemble: str, candidates: Sequence[Candidate], metric: MetricName) -> bytes:
    """Loss on validation against latency of every candidate; those that nothing beats joined and named."""
    figure = figure_of(8.4, 5.2)
    axes = figure.subplots()
    best = [each for each in candidates if each.efficient]
    axes.step([each.latency_ms for each in best], [each.validation for each in best], where="post", color=GRID, lw=1.5)
    for each in candidates:
        colour = SINGLE if each.rule == "single" else FUSED
        axes.scatter([each.latency_ms], [each.validation], s=44 if each.efficient else 22, zorder=3,
                     color=colour if each.efficient else "white", edgecolor=colour, lw=1.1)  # fmt: skip
        label = cut(each.members[0]) if each.rule == "single" else f"{each.rule} of {len(each.members)}"
        axes.annotate(label, (each.latency_ms, each.validation), xytext=(6, 5), textcoords="offset points",
                      fontsize=8, color=INK if each.efficient else QUIET)  # fmt: skip
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, 0.0), high + 0.14 * (high - low))
    axes.set(xlabel="ms per row, members one after the other on one thread", ylabel=f"validation {wording(metric)}")
    plain(axes)
    headed(figure, f"{ensemble}: {wording(metric)} against latency",
           "filled: no other is as fast and as good; dark: a member alone, orange: several fused")  # fmt: skip
    figure.subplots_adjust(left=0.1, right=0.98, top=0.86, bottom=0.1)
    return png_of(figure)
