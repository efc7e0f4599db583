"""Where trained parameters are kept: in a version, in a report, in the work folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.assembling.parameters import MOST_BYTES, in_report, in_version
from exporter.gate.parity import Parity
from exporter.optimisation.state import Begun
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import Made

TRAINED = {"a": b"one", "b": b"two", "forest": b"", "base": b"begin"}


def test_a_version_keeps_those_of_its_members_and_the_report_the_others() -> None:
    kept = in_version("auto", TRAINED, ("a", "forest"))
    assert kept == {"a": b"one"}
    assert in_report("auto", TRAINED, kept) == {
        "parameters/b.safetensors": b"two",
        "parameters/base.safetensors": b"begin",
    }


def test_what_is_too_large_for_a_version_is_in_the_report_unless_told_otherwise() -> None:
    large = {"a": bytes(MOST_BYTES + 1)}
    assert in_version("auto", large, ("a",)) == {}
    assert list(in_version("version", large, ("a",))) == ["a"]
    assert list(in_report("auto", large, {})) == ["parameters/a.safetensors"]


def test_members_of_one_training_are_counted_once() -> None:
    half = bytes(MOST_BYTES - 1)
    assert list(in_version("auto", {"a-1": half, "a-2": half}, ("a-1", "a-2"))) == ["a-1", "a-2"]


@pytest.mark.parametrize(("keep", "there"), [("report", 3), ("none", 0)])
def test_a_recipe_may_want_none_in_the_version(keep: str, there: int) -> None:
    assert in_version(keep, TRAINED, ("a", "b")) == {}  # type: ignore[arg-type]
    assert len(in_report(keep, TRAINED, {})) == there  # type: ignore[arg-type]


def test_the_work_folder_keeps_them_for_resume(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    made = Made(
        b"onnx", "logits", np.arange(2), np.ones((2, 2), np.float32), Parity(rows=2, largest_difference=0.0), 1.0,
        parameters=b"weights\0", begun=(Begun(start="a", taken=("w",), own=("b",)),),
    )  # fmt: skip
    work.save("digest", made)
    found = work.load("digest")
    assert found is not None
    assert (found.parameters, found.begun) == (made.parameters, made.begun)
