"""Class names that stand in the graph are the classes, each member aligned by them, or one line says what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from model_repo import Repository
from tests.exporter.foreign import samples as foreign
from tests.exporter.foreign.samples import W, answers, floats, linear_classifier, publish, rows, scored, softmax


def classes(folder: Path) -> tuple[str, ...]:
    repository = Repository(folder / "models")
    return repository.open("own", repository.versions("own")[-1]).manifest.classes


def test_listed_classes_in_another_order_than_the_graphs_are_aligned_by_name(tmp_path: Path) -> None:
    member = linear_classifier(["fraud", "ok"], W[:, :2])
    assert publish(tmp_path, {"a": member, "b": member}, "--classes", "ok,fraud") == 0
    found = answers(tmp_path, rows(), "label", "probabilities")
    p = softmax(rows() @ W[:, :2])
    np.testing.assert_allclose(found["probabilities"], p[:, ::-1], atol=1e-5)
    assert found["label"].tolist() == [("fraud", "ok")[column] for column in p.argmax(axis=1)]


@pytest.mark.parametrize("zipmap", ["off", "map", "columns"])
@pytest.mark.parametrize("names", [["3", "5", "7"], [3, 5, 7], ["c", "b", "a"]])
def test_nobody_lists_classes_and_the_graphs_are_taken(
    tmp_path: Path, zipmap: str, names: list[str] | list[int]
) -> None:
    member = linear_classifier(names, zipmap=zipmap)  # type: ignore[arg-type]  # the parameters are of the Literal
    assert publish(tmp_path, {"a": member}) == 0
    assert classes(tmp_path) == tuple(map(str, names))
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)


def test_members_of_other_orders_are_fused_name_by_name(tmp_path: Path) -> None:
    one = linear_classifier(["cat", "dog", "eel"])
    other = linear_classifier(["eel", "cat", "dog"], W[:, [2, 0, 1]], zipmap="map")
    assert publish(tmp_path, {"a": one, "b": other}) == 0
    assert classes(tmp_path) == ("cat", "dog", "eel")
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)


def test_labels_from_0_are_the_places_of_the_listed_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    member = linear_classifier([1, 0], W[:, :2])
    assert publish(tmp_path, {"a": member}, "--classes", "ok,fraud") == 0
    assert "member 'a' has labels 0 to 1: 0 is 'ok', 1 'fraud'" in capsys.readouterr().out
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W[:, :2])[:, ::-1], atol=1e-5)


def test_graphs_names_may_be_given_others(tmp_path: Path) -> None:
    assert publish(tmp_path, {"a": linear_classifier([3, 5, 7])}, "--classes", "7=seven,5=five,3=three") == 0
    assert classes(tmp_path) == ("seven", "five", "three")
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W)[:, ::-1], atol=1e-5)


def test_a_member_without_names_beside_one_with_them_is_marked_as_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = scored(W, [helper.make_node("Softmax", ["z"], ["y"], axis=1)], [floats("y", 3)])
    members = {"a": linear_classifier(["x", "y", "z"]), "cnn": silent}
    assert publish(tmp_path, members, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"] == ["x", "y", "z"]
    assert any(note.startswith("guess: member 'cnn' states no classes") for note in told["notes"])
    assert publish(tmp_path, members, "--json", "--classes", "x,y,z") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


@pytest.mark.parametrize(
    ("members", "words", "messages"),
    [
        ({"a": ["cat", "dog"]}, ["--classes", "good,bad"], ["'cat', 'dog'", "'good', 'bad'", "cat=…,dog=…"]),
        ({"a": [0, 1, 2]}, ["--classes", "1,2,3"], ["'0', '1', '2'", "'1', '2', '3'", "0=…,1=…,2=…"]),
        ({"a": [3, 5]}, ["--classes", "low,high"], ["'3', '5'", "'low', 'high'"]),
        ({"a": ["cat", "dog"], "b": ["cat", "eel"]}, [], ["member 'b'", "'eel'", "member 'a'"]),
        ({"a": ["cat", "dog"], "b": [0, 1]}, [], ["member 'b'", "--classes A,B,… which is 0, 1"]),
        ({"a": ["cat", "dog"]}, ["--classes", "cat,dog,eel"], ["gives 2 columns, there are 3 classes"]),
    ],
)
def test_names_that_differ_are_refused_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    members: dict[str, list[str] | list[int]],
    words: list[str],
    messages: list[str],
) -> None:
    made = {name: linear_classifier(labels, W[:, : len(labels)]) for name, labels in members.items()}
    assert publish(tmp_path, made, *words) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    for message in messages:
        assert message in told


def encoder(**attributes: Any) -> bytes:
    """Logits, and as a second output the label that a table makes of their place."""
    nodes = [
        helper.make_node("ArgMax", ["z"], ["place"], axis=1, keepdims=0),
        helper.make_node("LabelEncoder", ["place"], ["label"], domain="ai.onnx.ml", **attributes),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    return scored(W, nodes, [foreign.labels("label", TensorProto.STRING), floats("y", 3)])


def extractor() -> bytes:
    """Probabilities and a label that is looked up in a table, as skl2onnx writes most classifiers."""
    nodes = [
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
        helper.make_node("ArgMax", ["y"], ["place"], axis=1, keepdims=1),
        helper.make_node("ArrayFeatureExtractor", ["table", "place"], ["found"], domain="ai.onnx.ml"),
        helper.make_node("Reshape", ["found", "flat"], ["label"]),
    ]
    constants = {"table": np.array(["cat", "dog", "eel"], np.object_), "flat": np.array([-1], np.int64)}
    return scored(W, nodes, [foreign.labels("label", TensorProto.STRING), floats("y", 3)], constants)


def gathered() -> bytes:
    """Probabilities and a whole number looked up by Gather, cast to text."""
    nodes = [
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
        helper.make_node("ArgMax", ["z"], ["place"], axis=1, keepdims=0),
        helper.make_node("Gather", ["table", "place"], ["number"]),
        helper.make_node("Cast", ["number"], ["label"], to=TensorProto.STRING),
    ]
    outputs = [floats("y", 3), foreign.labels("label", TensorProto.STRING)]
    return scored(W, nodes, outputs, {"table": np.array([30, 10, 20], np.int64)})


def trees() -> bytes:
    """One tree of one leaf each: a TreeEnsembleClassifier whose scores a Normalizer passes on."""
    leaves: dict[str, Any] = {part: [0, 0, 0] for part in ("class_treeids", "class_nodeids")}
    nodes = [
        helper.make_node(
            "TreeEnsembleClassifier", ["x"], ["label", "raw"], domain="ai.onnx.ml", **leaves,
            class_ids=[0, 1, 2], class_weights=[0.2, 0.3, 0.5], classlabels_strings=["cat", "dog", "eel"],
            nodes_treeids=[0], nodes_nodeids=[0], nodes_featureids=[0], nodes_modes=["LEAF"], nodes_values=[0.0],
            nodes_truenodeids=[0], nodes_falsenodeids=[0], nodes_hitrates=[1.0],
            nodes_missing_value_tracks_true=[0], post_transform="NONE",
        ),
        helper.make_node("Normalizer", ["raw"], ["y"], domain="ai.onnx.ml", norm="L1"),
    ]  # fmt: skip
    return foreign.built(nodes, [floats("y", 3)], {})


def noted(key: str, text: str) -> bytes:
    """Probabilities alone, with class names in the model's metadata."""
    nodes = [helper.make_node("Softmax", ["z"], ["y"], axis=1)]
    return scored(W, nodes, [floats("y", 3)], metadata={key: text, "author": "a, b, c"})


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (encoder(keys_int64s=[0, 1, 2], values_strings=["cat", "dog", "eel"]), "cat dog eel"),
        (encoder(keys_int64s=[2, 1, 0], values_strings=["cat", "dog", "eel"]), "eel dog cat"),
        (extractor(), "cat dog eel"),
        (gathered(), "30 10 20"),
        (trees(), "cat dog eel"),
        (noted("classes", '["cat", "dog", "eel"]'), "cat dog eel"),
        (noted("names", "{0: 'cat', 1: 'dog', 2: 'eel'}"), "cat dog eel"),
        (noted("id2label", '{"2": "eel", "0": "cat", "1": "dog"}'), "cat dog eel"),
        (noted("labels", '{"cat": 0, "eel": 2, "dog": 1}'), "cat dog eel"),
        (noted("class_names", "cat\ndog\neel\n"), "cat dog eel"),
        (noted("Classes", "cat, dog, eel"), "cat dog eel"),
        (noted("classes", "cat,dog"), "0 1 2"),
        (noted("classes", "[1, [2], 3]"), "0 1 2"),
        (noted("other", "cat,dog,eel"), "0 1 2"),
    ],
)
def test_names_are_found_wherever_converters_leave_them(tmp_path: Path, member: bytes, expected: str) -> None:
    assert publish(tmp_path, {"a": member}) == 0
    assert classes(tmp_path) == tuple(expected.split())


def test_the_label_that_is_answered_outranks_a_classifier_inside(tmp_path: Path) -> None:
    """A stacked classifier: the node inside has codes, the table behind it the names."""
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["code", "y"], domain="ai.onnx.ml", post_transform="SOFTMAX",
            coefficients=W.T.ravel().tolist(), intercepts=[0.0] * 3, classlabels_ints=[0, 1, 2],
        ),
        helper.make_node("ArgMax", ["y"], ["place"], axis=1, keepdims=0),
        helper.make_node("ArrayFeatureExtractor", ["table", "place"], ["found"], domain="ai.onnx.ml"),
        helper.make_node("Reshape", ["found", "flat"], ["label"]),
    ]  # fmt: skip
    constants = {"table": np.array(["lo", "mid", "hi"], np.object_), "flat": np.array([-1], np.int64)}
    outputs = [foreign.labels("label", TensorProto.STRING), floats("y", 3)]
    assert publish(tmp_path, {"a": foreign.built(nodes, outputs, constants)}) == 0
    assert classes(tmp_path) == ("lo", "mid", "hi")


def test_a_column_of_two_named_classes_is_the_seconds_share(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sigmoid", ["z"], ["y"])]
    member = scored(W[:, :1], nodes, [floats("y", 1)], metadata={"classes": "fraud,ok"})
    assert publish(tmp_path, {"a": member}, "--classes", "ok,fraud") == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found[:, 0], foreign.sigmoid(rows() @ W[:, 0]), atol=1e-5)
