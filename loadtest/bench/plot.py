"""Cost curves as a PNG, one panel a curve: requests/s of a busy server, median latency of a lone client."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.bench.curves import Curve, Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RATE, _LATENCY, _INK = "#2a6fbb", "#e08a1e", "#333333"


def draw(curves: Curves, path: Path) -> None:
    """Write the picture; needs matplotlib (`loadtest.reporting.picture.require_matplotlib`)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(2, len(curves.curves))
    rows = math.ceil(len(curves.curves) / columns)
    figure = Figure(figsize=(6 * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, curve in zip(panels, curves.curves, strict=False):
        _panel(panel, curve)
    for panel in panels[len(curves.curves) :]:
        panel.set_axis_off()
    figure.suptitle(curves.machine.line(), x=0.01, ha="left", fontsize=8, color=_INK)
    figure.savefig(path, dpi=110)


def _panel(left: Axes, curve: Curve) -> None:
    sizes = [point.size for point in curve.points]
    right = left.twinx()
    left.plot(sizes, [point.busy_rps for point in curve.points], "o-", color=_RATE)
    right.plot(sizes, [point.alone_p50_ms for point in curve.points], "s--", color=_LATENCY)
    for axis in (left, right):
        axis.set_yscale("log")
    left.set_xscale("log", base=2)
    left.set_xticks(sizes, [f"{size:,}" for size in sizes])
    left.minorticks_off()
    left.set_xlabel(curve.what, color=_INK)
    left.set_ylabel(f"requests/s busy  (time ∝ n^{_power(curve.time_exponent)})", color=_RATE, fontsize=8)
    right.set_ylabel(f"p50 ms alone  (∝ n^{_power(curve.latency_exponent)})", color=_LATENCY, fontsize=8)
    left.grid(alpha=0.25)


def _power(exponent: float | None) -> str:
    return "?" if exponent is None else f"{exponent:.2f}"
