"""A request whose shape no member takes is told so, with the limit, and a model's own trouble is not put on it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from server.errors import InvalidTensor, QuorumLost
from server.runtime import LoadedEnsemble, Prediction, SessionPool
from server.runtime.datatypes import Array, Feeds
from server.runtime.plans.plan import Plan
from server.serving.batching.batch import Entry, Part
from server.serving.batching.isolation import NOBODY, compute
from tests.graphs import IR_VERSION, OPSET
from tests.repositories import publish
from tests.server.runtime.answer.test_tokenizers import load as load_texts
from tests.server.runtime.loading import load
from tests.texts import bag, publish_texts, strings, word_level

POSITIONS = 16
OUTPUTS = ("probabilities",)


def built(nodes: list[Any], shape: list[Any], constants: dict[str, Array], datatype: int = TensorProto.FLOAT) -> bytes:
    """A model x → p [n, 3], whose nodes give the logits `z`."""
    graph = helper.make_graph(
        [*nodes, helper.make_node("Softmax", ["z"], ["p"], axis=1)],
        "limited",
        [helper.make_tensor_value_info("x", datatype, shape)],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    return data


def positions(limit: int = POSITIONS) -> bytes:
    """Adds a learned position to each of the values of x [n, L], L ≤ `limit`, as BERT does."""
    nodes = [
        helper.make_node("Shape", ["x"], ["length"], start=1),
        helper.make_node("Slice", ["table", "start", "length"], ["own"]),
        helper.make_node("Add", ["x", "own"], ["placed"]),
        helper.make_node("ReduceMean", ["placed", "axis"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "w"], ["z"]),
    ]
    constants: dict[str, Array] = {
        "table": np.arange(limit, dtype=np.float32) / limit,
        "start": np.array([0]), "axis": np.array([1]), "w": np.array([[1, 2, 3]], np.float32),
    }  # fmt: skip
    return built(nodes, ["n", "length"], constants)


def window(size: int) -> bytes:
    """A convolution over x [n, 1, H, W] with a kernel of `size` in each direction, which it needs at least."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["z"]),
    ]
    kernel = np.random.default_rng(0).normal(size=(3, 1, size, size)).astype(np.float32)
    return built(nodes, ["n", 1, "h", "w"], {"kernel": kernel})


@pytest.fixture
def bert(tmp_path: Path) -> LoadedEnsemble:
    publish(tmp_path, "tiny", {"a": positions(), "b": positions()}, feeds={"x": np.ones((2, 8), np.float32)})
    return load(tmp_path, SessionPool())


def asked(ensemble: LoadedEnsemble, **feeds: Array) -> Any:
    rows = len(next(iter(feeds.values())))
    loop = asyncio.new_event_loop()
    entry = Entry(feeds, rows, OUTPUTS, 1e9, asyncio.Future(loop=loop), 0.0)
    loop.close()
    return compute(ensemble, [Part(entry, 0, 0, rows, rows)], (), NOBODY).parts[0]


def test_a_length_that_no_member_takes_is_the_clients_with_the_limit(bert: LoadedEnsemble) -> None:
    assert asked(bert, x=np.ones((1, POSITIONS), np.float32))["probabilities"].shape == (1, 3)
    refused = asked(bert, x=np.ones((3, 20), np.float32))
    assert isinstance(refused, InvalidTensor)
    assert str(refused) == (
        "the inputs are refused by the model: dimension 1 of input 'x' is 20; with 16 it is answered, with 17 it is not"
    )
    bert.close()


def test_a_limit_that_is_known_is_not_sought_again(bert: LoadedEnsemble, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(bert, x=np.ones((1, 300), np.float32))
    runs: list[int] = []
    predict = bert._predict

    def counted(plan: Plan, feeds: Feeds, outputs: Collection[str]) -> Prediction:
        runs.append(1)
        return predict(plan, feeds, outputs)

    monkeypatch.setattr(bert, "_predict", counted)
    assert "is 40; with 16 it is answered" in str(asked(bert, x=np.ones((1, 40), np.float32)))
    assert len(runs) == 1
    bert.close()


def test_a_picture_that_is_too_small_is_told_in_which_direction(tmp_path: Path) -> None:
    publish(tmp_path, "tiny", {"a": window(5)}, feeds={"x": np.ones((2, 1, 8, 8), np.float32)})
    ensemble = load(tmp_path, SessionPool())
    assert asked(ensemble, x=np.ones((1, 1, 5, 300), np.float32))["probabilities"].shape == (1, 3)
    wrong = asked(ensemble, x=np.ones((1, 1, 30, 4), np.float32))
    assert "dimension 3 of input 'x' is 4; with 5 it is answered, with 4 it is not" in str(wrong)
    both = asked(ensemble, x=np.ones((1, 1, 3, 4), np.float32))
    assert isinstance(both, InvalidTensor)
    assert "dimension 2 of input 'x' is 3; with 5 it is answered, with 4 it is not" in str(both)
    ensemble.close()


def test_a_text_with_more_tokens_than_positions_is_the_clients(tmp_path: Path) -> None:
    def limited(limit: int) -> bytes:
        nodes = [
            helper.make_node("Shape", ["x"], ["length"], start=1),
            helper.make_node("Slice", ["table", "start", "length"], ["own"]),
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["f", "own"], ["placed"]),
            helper.make_node("ReduceMean", ["placed", "axis"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["mean", "w"], ["z"]),
        ]
        constants: dict[str, Array] = {
            "table": np.zeros(limit, np.float32), "start": np.array([0]), "axis": np.array([1]),
            "w": np.array([[1, 2, 3]], np.float32),
        }  # fmt: skip
        return built(nodes, ["n", "length"], constants, TensorProto.INT64)

    tokenizer = {"x": (word_level(), {"max_tokens": 64})}
    publish_texts(tmp_path, {"a": limited(4)}, tokenizer, texts=("a good film", "bad"), classes=("a", "b", "c"))
    ensemble = load_texts(tmp_path, "sequential")
    wrong = asked(ensemble, text=strings(["bad", "good good good good good film"]))
    assert isinstance(wrong, InvalidTensor)
    assert "a text of input 'text' has 29 characters; with 20 it is answered, with 21 it is not" in str(wrong)
    ensemble.close()


def test_two_dimensions_that_are_too_large_only_together_are_told_together(tmp_path: Path) -> None:
    """The flattened picture is cut to `limit` numbers, which a table of as many then has to fit."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Shape", ["flat"], ["length"], start=1),
        helper.make_node("Slice", ["table", "start", "length"], ["own"]),
        helper.make_node("Add", ["flat", "own"], ["placed"]),
        helper.make_node("ReduceMean", ["placed", "axis"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "w"], ["z"]),
    ]
    constants: dict[str, Array] = {
        "table": np.zeros(60, np.float32), "start": np.array([0]), "axis": np.array([1]),
        "w": np.array([[1, 2, 3]], np.float32),
    }  # fmt: skip
    publish(
        tmp_path, "tiny", {"a": built(nodes, ["n", "h", "w"], constants)}, feeds={"x": np.ones((2, 5, 6), np.float32)}
    )
    ensemble = load(tmp_path, SessionPool())
    both = asked(ensemble, x=np.ones((1, 9, 10), np.float32))
    assert isinstance(both, InvalidTensor)
    assert str(both).endswith("input 'x' is [n, 9, 10], [n, 5, 6] is answered")
    ensemble.close()


def test_what_is_wrong_with_a_value_is_not_put_on_the_length(tmp_path: Path) -> None:
    publish(tmp_path, "tiny", {"a": bag(name="x")}, feeds={"x": np.ones((2, 4), np.int64)}, classes=("a", "b"))
    ensemble = load(tmp_path, SessionPool())
    strange = np.ones((1, 20), np.int64)
    strange[0, 15] = 999
    assert "dimension" not in str(asked(ensemble, x=strange))
    assert "999" in str(asked(ensemble, x=strange))
    ensemble.close()


def test_a_model_that_answers_nothing_is_not_the_clients_doing(
    bert: LoadedEnsemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = bert._predict
    too_long = np.ones((1, 99), np.float32)
    monkeypatch.setattr(bert, "_predict", lambda plan, feeds, outputs: predict(plan, {"x": too_long}, outputs))
    assert bert.shape_problem({"x": np.ones((1, 12), np.float32)}, OUTPUTS) is None
    assert type(asked(bert, x=np.ones((1, 12), np.float32))) is QuorumLost
    bert.close()


def test_a_short_text_is_never_too_long(tmp_path: Path) -> None:
    publish_texts(tmp_path, {"a": bag()}, {"tokens": (word_level(unk=None), {})}, texts=("good", "bad"))
    ensemble = load_texts(tmp_path, "sequential")
    assert ensemble.shape_problem({"text": strings(["bad"])}, OUTPUTS) is None
    ensemble.close()
