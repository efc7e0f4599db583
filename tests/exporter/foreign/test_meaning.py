"""What columns mean is read from what members give, told, and asked where it could be several things."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from exporter.foreign.meaning import Seen
from model_repo import Manifest, Repository
from tests.exporter.foreign.samples import W, answers, built, floats, publish, rows, scored, sigmoid, softmax


def member(*tail: NodeProto, columns: int = 3, scale: float = 1.0, **constants: NDArray[np.generic]) -> bytes:
    """y made of z = x W by the nodes of `tail`."""
    return scored(scale * W[:, :columns], tail, [floats("y", columns)], constants)


def node(kind: str, *inputs: str, **attributes: int) -> NodeProto:
    return helper.make_node(kind, list(inputs or ("z",)), ["y"], **attributes)  # type: ignore[arg-type]  # its first keyword is a name


SOFTMAX = member(node("Softmax", axis=1))
LOGITS = member(node("Identity"))
LOGS = member(node("LogSoftmax", axis=1))
SIGMOIDS = member(node("Sigmoid"))
VALUES = member(node("Identity"), scale=50)
COLUMN = member(node("Identity"), columns=1)
SIGMOID = member(node("Sigmoid"), columns=1)


def called(name: str) -> bytes:
    """Columns without bounds, given under that name."""
    tail = helper.make_node("Identity", ["z"], [name])
    return scored(W, [tail], [floats(name, 3)])


def short_of_one(factor: float) -> bytes:
    """A softmax times `factor`: what is left of it in few bits."""
    nodes = [helper.make_node("Softmax", ["z"], ["p"], axis=1), node("Mul", "p", "factor")]
    return scored(W, nodes, [floats("y", 3)], {"factor": np.array(factor, np.float32)})


def manifest(folder: Path) -> Manifest:
    repository = Repository(folder / "models")
    return repository.open("own", repository.versions("own")[-1]).manifest


@pytest.mark.parametrize("classes", [[], ["--classes", "a,b,c"], ["--task", "classification"]])
def test_fractions_that_do_not_sum_to_1_are_no_logits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], classes: list[str]
) -> None:
    assert publish(tmp_path, {"a": SIGMOIDS, "b": SIGMOIDS}, *classes) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    for flag in ("members 'a', 'b'", "rows sum to", "--task multilabel", "--kind a=", "--task regression"):
        assert flag in told


@pytest.mark.parametrize("made", [LOGITS, VALUES])
def test_unbounded_columns_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str], made: bytes) -> None:
    assert publish(tmp_path, {"a": made}) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    for flag in ("member 'a'", "--classes A,B,… (3 names)", "--task classification", "--task regression"):
        assert flag in told


@pytest.mark.parametrize(
    "words", [["--classes", "a,b,c"], ["--task", "classification"], ["--kind", "a=logits"]], ids=" ".join
)
def test_each_flag_that_is_named_decides(tmp_path: Path, words: list[str]) -> None:
    assert publish(tmp_path, {"a": LOGITS}, *words) == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)


def test_an_output_called_logits_is_taken_for_them_as_a_guess_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": called("logits"), "b": called("Out_Logits_0")}) == 0
    assert "guess: member 'a' gives logits (values " in capsys.readouterr().out
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)
    assert publish(tmp_path, {"a": called("logits"), "b": called("scores")}) == 2
    assert "member 'a', 'b'" in capsys.readouterr().err.replace("members", "member")


def test_logits_beside_probabilities_are_a_guess_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": SOFTMAX, "b": LOGITS}) == 0
    told = capsys.readouterr().out
    assert "guess: member 'b' gives logits (values " in told
    assert "bytes; saw values " in told
    assert "rows sum to 1\n" in told
    assert publish(tmp_path, {"a": SOFTMAX, "b": LOGITS}, "--kind", "b=logits") == 0
    assert "guess" not in capsys.readouterr().out


def test_fractions_beside_probabilities_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(tmp_path, {"a": SOFTMAX, "b": SIGMOIDS}) == 2
    assert "member 'b' gives columns within [0, 1] whose rows do not sum to 1" in capsys.readouterr().err


def test_logarithms_of_probabilities_are_logits_without_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": LOGS}) == 0
    assert "guess" not in capsys.readouterr().out
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)


@pytest.mark.parametrize("factor", [0.998, 0.985, 1.01])
def test_rows_that_nearly_sum_to_1_are_probabilities(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float
) -> None:
    assert publish(tmp_path, {"a": short_of_one(factor)}) == 0
    assert f"rows sum to {factor:.4g} to {factor:.4g}; they are divided by their sum" in capsys.readouterr().out
    assert manifest(tmp_path).members[0].kind == "probabilities"
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)


def test_a_kind_that_is_said_divides_rows_however_far_they_are(tmp_path: Path) -> None:
    assert publish(tmp_path, {"a": SIGMOIDS}, "--kind", "a=probabilities") == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    p = sigmoid(rows() @ W)
    np.testing.assert_allclose(found, p / p.sum(axis=1, keepdims=True), atol=1e-5)


def test_a_softmax_in_8_bits_is_probabilities(tmp_path: Path) -> None:
    """Quantised and dequantised as onnxruntime's quantiser leaves a model's last node."""
    nodes = [
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("QuantizeLinear", ["p", "scale", "zero"], ["q"]),
        node("DequantizeLinear", "q", "scale", "zero"),
    ]
    constants: dict[str, NDArray[np.generic]] = {"scale": np.array(1 / 256, np.float32), "zero": np.array(0, np.uint8)}
    assert publish(tmp_path, {"a": scored(W, nodes, [floats("y", 3)], constants)}) == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=0.004)


def test_half_precision_is_probabilities(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["z"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Softmax", ["half"], ["y"], axis=1),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["n", 3])
    assert publish(tmp_path, {"a": scored(W, nodes, [output])}) == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=2e-3)


def test_one_column_within_0_and_1_is_a_regression_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": SIGMOID}) == 0
    assert manifest(tmp_path).task == "regression"
    assert "guess: one column within [0, 1] and no classes: a regression" in capsys.readouterr().out
    assert publish(tmp_path, {"a": SIGMOID}, "--task", "regression", "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_one_column_beyond_0_and_1_is_a_regression_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": COLUMN}, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["task"], told["notes"]) == ("regression", [])


def test_one_column_with_three_classes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(tmp_path, {"a": SIGMOID}, "--classes", "a,b,c") == 2
    assert "member 'a' gives 1 columns, there are 3 classes" in capsys.readouterr().err


@pytest.mark.parametrize("dims", [(3, 1, 1), (3, 1)])
@pytest.mark.parametrize("opset", [12, 17])
def test_ones_behind_the_columns_are_taken_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dims: tuple[int, ...], opset: int
) -> None:
    nodes = [helper.make_node("Softmax", ["z"], ["p"], axis=1), node("Reshape", "p", "shape")]
    constants = {"shape": np.array([0, *dims], np.int64)}
    assert publish(tmp_path, {"a": scored(W, nodes, [floats("y", *dims)], constants, opset=opset)}) == 0
    assert "member 'a': its output 'y' [16, 3, 1" in capsys.readouterr().out
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)


def test_rows_are_divided_in_old_operator_sets_too(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["z"], ["p"], axis=1), node("Mul", "p", "factor")]
    made = scored(W, nodes, [floats("y", 3)], {"factor": np.array(0.99, np.float32)}, opset=11)
    assert publish(tmp_path, {"a": made}) == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)


def test_a_member_without_an_operator_set_of_its_own_is_edited_all_the_same(tmp_path: Path) -> None:
    """Some converters import `ai.onnx.ml` alone."""
    scores = helper.make_node(
        "LinearClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", post_transform="LOGISTIC",
        coefficients=W.T.ravel().tolist(), intercepts=[0.0] * 3, classlabels_strings=["a", "b", "c"],
    )  # fmt: skip
    from onnx import ModelProto

    model = ModelProto.FromString(built([scores], [floats("y", 3)], {}))
    kept = [entry for entry in model.opset_import if entry.domain]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    assert publish(tmp_path, {"a": model.SerializeToString()}, "--kind", "a=probabilities") == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    p = sigmoid(rows() @ W)
    np.testing.assert_allclose(found, p / p.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    ("values", "look"),
    [
        ([[0.5, 0.5], [1.0, 0.0]], "distribution"),
        ([[0.5, 0.49], [1.0, 0.0]], "near"),
        ([[0.5, 0.4], [1.0, 0.0]], "fraction"),
        ([[0.9], [0.2]], "fraction"),
        ([[-0.2, 0.7], [1.0, 0.0]], "unbounded"),
        ([[0.5, 0.5], [1.0, 2.0]], "unbounded"),
        ([[np.log(0.5), np.log(0.5)], [np.log(0.1), np.log(0.9)]], "log"),
        ([[-1.0, -2.0], [-3.0, -4.0]], "unbounded"),
    ],
)
def test_values_look_like_what_they_are(values: list[list[float]], look: str) -> None:
    assert Seen.of(np.array(values, np.float32)).look == look
