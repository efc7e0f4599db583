"""The confusion matrix of the fused answer; with many classes, the confusions that happen most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exporter.reporting.drawing import FUSED, INK, QUIET, cut, figure_of, headed, plain, png_of

MOST_CLASSES = 20
"""Of a matrix that can still be read."""
MOST_CONFUSIONS = 25

Labels = NDArray[np.int64]


def confusion(label: Labels, y: Labels, classes: int) -> NDArray[np.int64]:
    """int64 [C, C]: rows of the true class (first axis) that got each label."""
    return np.bincount(y * classes + label, minlength=classes * classes).reshape(classes, classes)


def top_confusions(label: Labels, y: Labels, most: int = MOST_CONFUSIONS) -> list[tuple[int, int, int]]:
    """(true class, label, rows) of what is confused most often, most first; ties by class."""
    wrong = label != y
    pairs, counts = np.unique(np.stack([y[wrong], label[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(int(pairs[0, k]), int(pairs[1, k]), int(counts[k])) for k in order]


def confusion_png(ensemble: str, label: Labels, y: Labels, classes: Sequence[str]) -> bytes:
    """The picture for these labels [n]; up to 20 classes the matrix, beyond that a list of the confusions."""
    if len(classes) <= MOST_CLASSES:
        return _matrix(ensemble, confusion(label, y, len(classes)), classes)
    return _bars(ensemble, label, y, classes)


def _matrix(ensemble: str, table: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    side = max(5.2, 0.52 * len(classes) + 2.0)
    figure = figure_of(side, side + 0.4)
    axes = figure.subplots()
    total = np.maximum(table.sum(axis=1, keepdims=True), 1)
    share = table / total
    # The diagonal would drown the rest: errors have their own scale, right answers are only framed.
    errors = np.where(np.eye(len(classes), dtype=bool), 0, share)
    axes.imshow(errors, cmap="Oranges", vmin=0, vmax=max(float(errors.max()), 1e-9) * 1.25)
    for (true, given), rows in np.ndenumerate(table):
        if rows:
            right = true == given
            axes.text(given, true, str(rows), ha="center", va="center", fontsize=8 if len(classes) <= 12 else 7,
                      color=QUIET if right else INK, fontweight="normal" if right else "bold")  # fmt: skip
    names = [cut(name) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=45 if max(map(len, names)) > 3 else 0,
                    ha="right" if max(map(len, names)) > 3 else "center")  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="answered", ylabel="true")
    plain(axes, "none")
    accuracy = np.trace(table) / max(table.sum(), 1)
    headed(figure, f"{ensemble}: confusion on {table.sum()} test rows",
           f"accuracy {accuracy:.4f}; rows per cell, errors coloured by share of the true class")  # fmt: skip
    longest = max(map(len, names))
    figure.subplots_adjust(left=min(0.1 + 0.075 * longest / side * 1.1, 0.4), right=0.97,
                           top=1 - 0.75 / (side + 0.4), bottom=min(0.09 + 0.06 * longest / side, 0.35))  # fmt: skip
    return png_of(figure)


def _bars(ensemble: str, label: Labels, y: Labels, classes: Sequence[str]) -> bytes:
    found = top_confusions(label, y)
    figure = figure_of(7.2, 1.4 + 0.26 * max(len(found), 1))
    axes = figure.subplots()
    names = [f"{cut(classes[true], 20)} → {cut(classes[given], 20)}" for true, given, _ in found]
    axes.barh(range(len(found)), [rows for *_, rows in found], color=FUSED, height=0.7)
    for place, (true, _, rows) in enumerate(found):
        axes.text(rows, place, f"  {rows} of {int((y == true).sum())}", va="center", fontsize=8, color=QUIET)
    axes.set_yticks(range(len(found)), names)
    axes.set_xlim(0, max((rows for *_, rows in found), default=1) * 1.2)
    axes.set_xlabel("rows")
    axes.set_ylim(max(len(found), 1) - 0.5, -0.5)
    plain(axes, "x")
    wrong = int((label != y).sum())
    headed(figure, f"{ensemble}: most frequent confusions among {len(classes)} classes",
           f"true → answered, of {wrong} wrong answers to {len(y)} test rows")  # fmt: skip
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.4, right=0.97, top=1 - 0.75 / height, bottom=0.5 / height)
    return png_of(figure)
