"""Members that answer with a label alone vote for it, by name; what cannot vote is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from model_repo import Repository
from tests.exporter.foreign import samples as foreign
from tests.exporter.foreign.samples import W, answers, floats, linear_classifier, publish, rows, scored, softmax


def label_alone(table: NDArray[Any] | None = None, kind: int = TensorProto.INT64) -> bytes:
    """The place of the largest of three scores, or what a table has at that place; cast to `kind`."""
    place = helper.make_node("ArgMax", ["z"], ["place"], axis=1, keepdims=0)
    if table is None:
        return scored(W, [place, helper.make_node("Cast", ["place"], ["y"], to=kind)], [foreign.labels("y", kind)])
    found = [place, helper.make_node("Gather", ["table", "place"], ["y"])]
    return scored(W, found, [foreign.labels("y", kind)], {"table": table})


def votes(*members: NDArray[Any]) -> NDArray[Any]:
    """Share of the votes, [n, 3], of the largest of each member's scores [n, 3]."""
    return np.asarray(np.mean([np.eye(3)[scores.argmax(axis=1)] for scores in members], axis=0))


@pytest.mark.parametrize("ml", [1, 3])
@pytest.mark.parametrize("names", [["c", "b", "a"], [7, 3, 5]])
def test_labels_vote_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str] | list[int], ml: int
) -> None:
    one = linear_classifier(names, ml=ml)
    other = linear_classifier(names[::-1], -W[:, ::-1], ml=ml)
    words = ["--output", "a=label", "--output", "b=label", "--fusion", "vote"]
    assert publish(tmp_path, {"a": one, "b": other}, *words) == 0
    assert "member 'a': its label 'label' votes" in capsys.readouterr().out
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, votes(rows() @ W, -rows() @ W), atol=1e-6)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_places_vote_for_the_listed_classes(tmp_path: Path, kind: int) -> None:
    assert publish(tmp_path, {"a": label_alone(kind=kind)}, "--classes", "x,y,z") == 0
    found = answers(tmp_path, rows(), "label", "probabilities")
    assert found["label"].tolist() == ["xyz"[column] for column in (rows() @ W).argmax(axis=1)]


def test_labels_of_a_model_that_says_nothing_vote_by_what_they_are(tmp_path: Path) -> None:
    hidden = label_alone(np.array([30, 10, 20], np.int64))
    assert publish(tmp_path, {"a": hidden}, "--classes", "10,20,30") == 0
    found = answers(tmp_path, rows(), "label")["label"]
    assert found.tolist() == [("30", "10", "20")[column] for column in (rows() @ W).argmax(axis=1)]


def test_a_label_beside_probabilities_is_left_alone(tmp_path: Path) -> None:
    assert publish(tmp_path, {"a": linear_classifier(["c", "b", "a"])}) == 0
    assert Repository(tmp_path / "models").open("own", 1).manifest.members[0].output == "probabilities"
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    np.testing.assert_allclose(found, softmax(rows() @ W), atol=1e-5)


def test_a_vote_beside_probabilities_is_fused_with_them(tmp_path: Path) -> None:
    members = {"a": linear_classifier(["c", "b", "a"]), "b": linear_classifier(["a", "b", "c"], W[:, ::-1])}
    assert publish(tmp_path, members, "--output", "b=label") == 0
    found = answers(tmp_path, rows(), "probabilities")["probabilities"]
    wanted = (softmax(rows() @ W) + votes(rows() @ W)) / 2
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("member", "words", "messages"),
    [
        (label_alone(), [], ["its output 'y' is a label", "--classes A,B,…"]),
        (label_alone(np.array([30, 10, 20], np.int64)), ["--classes", "30,10"], ["3 columns, there are 2 classes"]),
        (label_alone(), ["--classes", "x,y"], ["gave the label '2', expected one of '0', '1'"]),
        (
            scored(W, [helper.make_node("Cast", ["z"], ["y"], to=TensorProto.INT64)],
                   [helper.make_tensor_value_info("y", TensorProto.INT64, ["n", 3])]),
            ["--classes", "x,y,z"],
            ["its output 'y' is [16, 3] of no floats, expected labels [n] or floats [n, C]"],
        ),
        (
            scored(W, [helper.make_node("Softmax", ["z"], ["y"], axis=1),
                       helper.make_node("SequenceConstruct", ["y"], ["list"])],
                   [helper.make_value_info("list", helper.make_sequence_type_proto(
                       helper.make_tensor_type_proto(TensorProto.FLOAT, None)))]),
            [],
            ["has no output of floats, its outputs are 'list' (seq(tensor(float)))"],
        ),
        (linear_classifier(["a", "b", "c"]), ["--output", "a=nothing"], ["has no output 'nothing'"]),
        (
            scored(W, [helper.make_node("Softmax", ["z"], ["y"], axis=1), helper.make_node("Shape", ["z"], ["s"])],
                   [floats("y", 3), helper.make_tensor_value_info("s", TensorProto.INT64, [2])]),
            ["--output", "a=s", "--classes", "a,b,c"],
            ["its output 's' is [2] for 16 rows"],
        ),
    ],
)  # fmt: skip
def test_what_cannot_vote_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], member: bytes, words: list[str], messages: list[str]
) -> None:
    assert publish(tmp_path, {"a": member}, *words) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    for message in messages:
        assert message in told
