"""The files of a report: made before the publication, so that what can fail fails before it; written after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.errors import ExportError
from exporter.reporting.confusion import confusion_png
from exporter.reporting.front import front_png
from exporter.reporting.heatmap import diversity_png
from exporter.reporting.leaderboard import Leaderboard, as_json, as_text
from exporter.reporting.picture import as_png
from exporter.reporting.reliability import reliability_png
from exporter.reporting.residuals import residuals_png

Floats = NDArray[np.float64]


def report_files(
    board: Leaderboard, classes: Sequence[str], fused: Floats, best_single: Floats, target: Array
) -> dict[str, bytes]:
    """File → content. `fused` and `best_single` are answers [n, C] to the test rows with `target` [n]."""
    files = {
        "leaderboard.txt": as_text(board).encode(),
        "leaderboard.json": as_json(board),
        "leaderboard.png": as_png(board),
    }
    name = board.ensemble
    if board.pareto:
        files["pareto.png"] = front_png(name, board.pareto, board.metric)
    if board.diversity is not None:
        files["diversity.png"] = diversity_png(name, board.diversity)
    if target.ndim == 2 and classes:
        return files  # several labels a row: no one confusion
    if classes:
        singles = {board.best_single: best_single}
        files["reliability.png"] = reliability_png(name, fused, singles, target)
        files["confusion.png"] = confusion_png(name, fused.argmax(axis=1), target, classes)
    else:
        files["residuals.png"] = residuals_png(
            name, fused.ravel(), best_single.ravel(), board.best_single, target.ravel()
        )
    return files


def write_report(folder: Path, files: Mapping[str, bytes], ensemble: str) -> None:
    """Write them. Raises ExportError, which says that the ensemble is published all the same."""
    try:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    except OSError as error:
        raise ExportError(f"{ensemble} is published, but the report {folder} is not written: {error}") from error
