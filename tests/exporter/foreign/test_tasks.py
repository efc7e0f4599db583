"""Labels that do not exclude each other, and values of several numbers, are published where somebody says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from model_repo import Repository
from tests.exporter.foreign.samples import W, answers, floats, publish, rows, scored, sigmoid

NAMES = "news,sport,art"


def sigmoids(scale: float = 1.0, **metadata: str) -> bytes:
    return scored(scale * W, [helper.make_node("Sigmoid", ["z"], ["y"])], [floats("y", 3)], metadata=metadata)


def plain(scale: float = 1.0, *shape: int) -> bytes:
    """x W as it is, or as rows of another shape."""
    nodes = [helper.make_node("Reshape", ["z", "shape"], ["y"])]
    return scored(scale * W, nodes, [floats("y", *(shape or (3,)))], {"shape": np.array([-1, *(shape or (3,))])})


def test_labels_are_fused_one_by_one(tmp_path: Path) -> None:
    words = ["--task", "multilabel", "--classes", NAMES]
    assert publish(tmp_path, {"a": sigmoids(), "b": sigmoids(2)}, *words) == 0
    manifest = Repository(tmp_path / "models").open("own", 1).manifest
    assert (manifest.task, manifest.classes, manifest.thresholds) == ("multilabel", tuple(NAMES.split(",")), ())
    found = answers(tmp_path, rows(), "probabilities", "labels")
    wanted = (sigmoid(rows() @ W) + sigmoid(2 * rows() @ W)) / 2
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
    np.testing.assert_array_equal(found["labels"], wanted >= 0.5)


def test_log_odds_beside_probabilities_are_a_guess_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": sigmoids(), "b": plain()}, "--task", "multilabel") == 0
    assert "guess: member 'b' gives log-odds" in capsys.readouterr().out
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, sigmoid(rows() @ W), atol=1e-5)


def test_labels_are_aligned_by_the_names_that_the_graphs_state(tmp_path: Path) -> None:
    turned = scored(
        W[:, ::-1], [helper.make_node("Sigmoid", ["z"], ["y"])], [floats("y", 3)], metadata={"labels": "art,sport,news"}
    )
    assert publish(tmp_path, {"a": sigmoids(labels=NAMES), "b": turned}, "--task", "multilabel") == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, sigmoid(rows() @ W), atol=1e-5)


@pytest.mark.parametrize(("given", "expected"), [("0.3", (0.3, 0.3, 0.3)), ("0.9,0.5,0.1", (0.9, 0.5, 0.1))])
def test_thresholds_are_for_all_labels_or_for_each(tmp_path: Path, given: str, expected: tuple[float, ...]) -> None:
    assert publish(tmp_path, {"a": sigmoids()}, "--task", "multilabel", "--thresholds", given) == 0
    assert Repository(tmp_path / "models").open("own", 1).manifest.thresholds == expected
    found = answers(tmp_path, rows(), "labels")["labels"]
    np.testing.assert_array_equal(found, sigmoid(rows() @ W) >= np.array(expected))


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1)])
def test_values_of_several_numbers_are_averaged(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert publish(tmp_path, {"a": plain(50, *shape), "b": plain(10, *shape)}, "--task", "regression") == 0
    found = answers(tmp_path, rows(), "value")["value"]
    np.testing.assert_allclose(found, 30 * rows() @ W, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("members", "words", "message"),
    [
        ({"a": sigmoids()}, ["--thresholds", "0.3"], "--thresholds: only --task multilabel"),
        ({"a": sigmoids()}, ["--task", "multilabel", "--thresholds", "0.3,0.4"], "one for each of the 3 labels"),
        ({"a": sigmoids()}, ["--task", "multilabel", "--thresholds", "2"], "expected numbers from 0 to 1"),
        ({"a": sigmoids()}, ["--task", "multilabel", "--thresholds", "x"], "expected numbers such as"),
        ({"a": sigmoids()}, ["--task", "multilabel", "--classes", "a,b"], "gives 3 columns, there are 2 labels"),
        ({"a": plain(50), "b": scored(W[:, :2], [helper.make_node("Identity", ["z"], ["y"])], [floats("y", 2)])},
         ["--task", "regression"], "member 'b' gives"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], members: dict[str, bytes], words: list[str], message: str
) -> None:
    assert publish(tmp_path, members, *words) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert message in told


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_whole_numbers_are_a_regressions_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, ...]
) -> None:
    counts = [
        helper.make_node("Round", ["z"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.INT64),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.INT64, ["n", *shape[1:]])
    member = scored(9 * W[:, :1], counts, [output], {"shape": np.array(shape)})
    assert publish(tmp_path, {"a": member}, "--task", "regression") == 0
    assert "member 'a': its output 'y' becomes one of floats" in capsys.readouterr().out
    found = answers(tmp_path, rows(), "value")["value"]
    np.testing.assert_array_equal(found.ravel(), np.round(9 * rows() @ W[:, 0]))


def test_labels_that_are_said_to_hold_are_probabilities_of_0_and_1(tmp_path: Path) -> None:
    holds = [helper.make_node("Greater", ["z", "zero"], ["y"])]
    output = helper.make_tensor_value_info("y", TensorProto.BOOL, ["n", 3])
    member = scored(W, holds, [output], {"zero": np.zeros((), np.float32)})
    assert publish(tmp_path, {"a": member, "b": sigmoids()}, "--task", "multilabel") == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, ((rows() @ W > 0) + sigmoid(rows() @ W)) / 2, atol=1e-5)
