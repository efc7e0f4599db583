"""The curves of the trainings: a table of all points, and a picture of the published members'."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from exporter.optimisation.curve import Curve, Point
from exporter.reporting.drawing import INK, cut, figure_of, headed, plain, png_of
from exporter.training.jobs import FINAL, Job, Made

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("member", "fold", "network", "step", "epoch", "loss", "accuracy")
_HELD_OUT = ("accuracy", "log_loss", "rmse", "mae")
_COLOURS = ("#e0692b", "#3f5f7f", "#5b8c5a", "#b0457b", "#8a6d1f", "#4aa3a2", "#7b5ea7", "#a05a3c")


def curve_files(ensemble: str, results: Mapping[Job, Made]) -> dict[str, bytes]:
    """`training.csv` of all trainings, `training.png` of those on all fit rows; nothing without a trained network."""
    curves = {
        (job.member, job.fold, network): curve
        for job, made in results.items()
        for network, curve in enumerate(made.curves)
        if curve.points
    }
    if not curves:
        return {}
    finals = {
        member if network == 0 else f"{member}, network {network + 1}": curve
        for (member, fold, network), curve in curves.items()
        if fold == FINAL
    }
    return {"training.csv": _table(curves), "training.png": _picture(ensemble, finals)}


def _table(curves: Mapping[tuple[str, int, int], Curve]) -> bytes:
    """A line for each point; folds and networks from 0, no fold: the member that is published."""
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow([*_COLUMNS, *(f"held_out_{name}" for name in _HELD_OUT)])
    for (member, fold, network), curve in curves.items():
        for point in curve.points:
            own = (point.step, f"{point.epoch:g}", f"{point.loss:.6g}", _number(point.accuracy))
            held = (_number(point.validation.get(name)) for name in _HELD_OUT)
            table.writerow([member, "" if fold == FINAL else fold, network, *own, *held])
    return buffer.getvalue().encode()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _picture(ensemble: str, curves: Mapping[str, Curve]) -> bytes:
    """Loss and accuracy over epochs; dashed: on held-out rows; a dotted line where a training was to end."""
    figure = figure_of(9.6, 4.2)
    losses, accuracies = figure.subplots(1, 2)
    for place, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        _line(losses, curve.points, [point.loss for point in curve.points], colour, cut(name))
        _line(losses, curve.points, [point.validation.get("log_loss") for point in curve.points], colour, dashed=True)
        _line(accuracies, curve.points, [point.accuracy for point in curve.points], colour)
        held = [point.validation.get("accuracy") for point in curve.points]
        _line(accuracies, curve.points, held, colour, dashed=True)
    for bound in {curve.bounds["accuracy"] for curve in curves.values() if "accuracy" in curve.bounds}:
        accuracies.axhline(bound, color=INK, lw=0.8, ls=":")
    losses.set(xlabel="epochs", ylabel="loss", yscale="log")
    accuracies.set(xlabel="epochs", ylabel="accuracy")
    losses.legend(fontsize=8, frameon=False)
    for axes in (losses, accuracies):
        plain(axes)
    note = "solid: batches as trained, distorted and with dropout; dashed: rows that no step sees; dotted: stop_at"
    headed(figure, f"{ensemble}: trainings of the published members", note)
    figure.subplots_adjust(left=0.075, right=0.98, top=0.84, bottom=0.12, wspace=0.2)
    return png_of(figure)


def _line(
    axes: Axes,
    points: Sequence[Point],
    values: Sequence[float | None],
    colour: str,
    label: str | None = None,
    *,
    dashed: bool = False,
) -> None:
    known = [(point.epoch, value) for point, value in zip(points, values, strict=True) if value is not None]
    if known:
        epochs, figures = zip(*known, strict=True)
        marker = "." if len(known) == 1 else ""
        axes.plot(epochs, figures, color=colour, lw=1.3, ls="--" if dashed else "-", label=label, marker=marker)
