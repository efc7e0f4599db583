"""Pictures show the figures that the report states, for few classes and many, for classes and values."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from exporter.fusing.pareto import Candidate, marked
from exporter.reporting.confusion import MOST_CLASSES, confusion, confusion_png, top_confusions
from exporter.reporting.diversity import diversity
from exporter.reporting.front import front_png
from exporter.reporting.heatmap import diversity_png
from exporter.reporting.reliability import bins, reliability_png
from exporter.reporting.residuals import residuals_png
from exporter.scoring.metrics import calibration_error
from exporter.scoring.objective import Objective
from tests.exporter.reporting.samples import classified


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20  # something is drawn
        return picture.size


def test_the_bins_of_the_reliability_diagram_add_up_to_the_calibration_error() -> None:
    (p,), y = classified([1.0])
    rows, sure, right = bins(p, y)
    assert rows.sum() == len(y)
    known = rows > 0
    gap = (np.abs(right - sure)[known] * rows[known]).sum() / len(y)
    assert gap == pytest.approx(calibration_error(p, y))
    assert size(reliability_png("it", p, {"cnn": p}, y)) == (960, 990)


def test_the_confusion_matrix_counts_true_classes_by_answer() -> None:
    y, label = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 2, 0])
    assert confusion(label, y, 3).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    assert top_confusions(label, y) == [(2, 0, 2), (0, 1, 1)]


def test_many_classes_become_a_list_of_confusions() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 50, 400)
    label = np.where(rng.random(400) < 0.7, y, (y + 1) % 50)
    few = size(confusion_png("it", label % MOST_CLASSES, y % MOST_CLASSES, [f"class {c}" for c in range(MOST_CLASSES)]))
    many = size(confusion_png("it", label, y, [f"a class of a long name {c}" for c in range(50)]))
    assert few[0] == pytest.approx(few[1], rel=0.1)
    assert many[0] == 1080
    assert size(confusion_png("it", y, y, [f"class {c}" for c in range(50)]))  # nothing is confused


def test_pictures_of_two_members_or_of_values_are_drawn_too() -> None:
    (a, b), y = classified([0.5, 1.0], rows=200)
    assert size(diversity_png("it", diversity({"a": a, "b": b}, a, {"a": b, "b": a}, y, Objective("log_loss"), 0)))
    value = np.linspace(0, 5, 200)
    assert size(residuals_png("it", value + 0.1, value - 0.2, "ridge", value)) == (1440, 720)
    exact = size(residuals_png("it", value, value, "ridge", value))
    assert exact == (1440, 720)


def test_the_pareto_list_is_drawn() -> None:
    found = marked([
        Candidate(members=("fast",), rule="single", latency_ms=1.0, validation=0.5, test=0.5),
        Candidate(members=("fast", "slow"), rule="geometric", latency_ms=5.0, validation=0.3, test=0.3),
    ])  # fmt: skip
    assert size(front_png("it", found, "log_loss")) == (1260, 780)
