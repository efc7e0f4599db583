"""Files that join an ensemble by `Exporter.add` or `tutti refit` are read as `tutti publish` reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from exporter.errors import BundleError
from exporter.foreign.objects.member import Brought, Said, Wiring, from_file
from model_repo import Input
from tests.exporter.foreign import samples as foreign
from tests.exporter.foreign.samples import FEATURES, W, floats, linear_classifier, rows, scored, sigmoid, softmax

CLASSES = ("cat", "dog", "eel")
WIRING = Wiring(CLASSES, (Input(name="x", datatype="FP32", shape=(-1, FEATURES)),))


def brought(folder: Path, data: bytes, said: Said | None = None, wiring: Wiring = WIRING) -> Brought:
    (folder / "new.onnx").write_bytes(data)
    return from_file("new", folder / "new.onnx", wiring, said or Said(), {"x": rows()})


def answer(member: Brought) -> np.ndarray:
    return member({"x": rows()})


@pytest.mark.parametrize("zipmap", ["off", "map", "columns"])
def test_names_in_the_graph_align_the_columns(tmp_path: Path, zipmap: str) -> None:
    data = linear_classifier(["eel", "cat", "dog"], W[:, [2, 0, 1]], zipmap=zipmap)  # type: ignore[arg-type]  # of the Literal
    member = brought(tmp_path, data)
    assert member.part.entry.classes == ("eel", "cat", "dog")
    np.testing.assert_allclose(answer(member), softmax(rows() @ W), atol=1e-5)


def test_a_label_alone_votes(tmp_path: Path) -> None:
    member = brought(tmp_path, linear_classifier(["eel", "cat", "dog"], W[:, [2, 0, 1]]), Said(output="label"))
    np.testing.assert_array_equal(answer(member), np.eye(3)[(rows() @ W).argmax(axis=1)])


def test_rows_that_nearly_sum_to_1_are_divided_by_their_sum(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["z"], ["p"], axis=1), helper.make_node("Mul", ["p", "factor"], ["y"])]
    data = scored(W, nodes, [floats("y", 3)], {"factor": np.array(0.99, np.float32)}, {"classes": "cat,dog,eel"})
    np.testing.assert_allclose(answer(brought(tmp_path, data)), softmax(rows() @ W), atol=1e-5)


def test_sigmoids_are_not_taken_for_logits(tmp_path: Path) -> None:
    data = scored(W, [helper.make_node("Sigmoid", ["z"], ["y"])], [floats("y", 3)], metadata={"classes": "cat,dog,eel"})
    with pytest.raises(BundleError, match="within \\[0, 1\\] whose rows do not sum to 1"):
        brought(tmp_path, data)
    p = sigmoid(rows() @ W)
    found = answer(brought(tmp_path, data, Said(kind="probabilities")))
    np.testing.assert_allclose(found, p / p.sum(axis=1, keepdims=True), atol=1e-5)


def test_a_label_that_names_nothing_is_refused(tmp_path: Path) -> None:
    place = helper.make_node("ArgMax", ["z"], ["y"], axis=1, keepdims=0)
    with pytest.raises(BundleError, match="member 'new': its output 'y' is a label"):
        brought(tmp_path, scored(W, [place], [foreign.labels("y", TensorProto.INT64)]))


def test_values_of_a_regression_are_let_through(tmp_path: Path) -> None:
    data = scored(W[:, :1], [helper.make_node("Identity", ["z"], ["y"])], [floats("y", 1)])
    member = brought(tmp_path, data, wiring=Wiring((), WIRING.tensors))
    assert member.part.entry.kind == "value"
    np.testing.assert_allclose(answer(member), rows() @ W[:, :1], atol=1e-5)
