"""8-bit weights are taken where they are measured faster and nearly as good, and refused with the figures otherwise."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exporter.conversion.int8 import int8
from exporter.data.dataset import Dataset, Rows
from exporter.errors import ConversionError
from exporter.fusing.ledger import ledger_of
from exporter.fusing.quantising import Decision, _objections, decide, quantised
from exporter.gate.inference import Graph
from exporter.gate.parity import Parity
from exporter.images.families import Cnn
from exporter.scoring.objective import Objective
from exporter.training.jobs import FINAL, Job, Made
from model_repo import Input
from tests import graphs

LOG_LOSS = Objective("log_loss")
FEATURES, HIDDEN, ROWS = 16, 64, 300


def network(scale: float = 0.4, seed: int = 0) -> bytes:
    """x [n, 16] → logits [n, 3] by two products, the second a Gemm."""
    rng = np.random.default_rng(seed)
    constants = {
        "w1": rng.normal(0, scale, (FEATURES, HIDDEN)).astype(np.float32),
        "w2": rng.normal(0, scale, (HIDDEN, 3)).astype(np.float32),
        "b2": np.zeros(3, dtype=np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "member",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return bytes(model.SerializeToString())


def data() -> Dataset:
    x = np.random.default_rng(1).normal(size=(ROWS, FEATURES)).astype(np.float32)
    y = Graph(network())({"x": x}).argmax(axis=1).astype(np.int64)
    return Dataset(Rows.of({"x": x}, y), ("a", "b", "c"), (Input(name="x", datatype="FP32", shape=(-1, FEATURES)),))


def made(graph: bytes, dataset: Dataset, held: NDArray[np.int64]) -> Made:
    outputs = Graph(graph).in_batches(dataset.rows.take(held).inputs)
    return Made(graph, "logits", held, outputs, Parity(rows=len(held), largest_difference=0.0), 0.0)


def test_products_become_integers_of_standard_operators_and_nearly_the_same_answers() -> None:
    data8 = int8(network())
    assert data8 is not None
    model = onnx.load_from_string(data8)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulInteger") == 2
    assert {entry.domain for entry in model.opset_import} == {""}
    assert len(data8) < len(network())
    assert int8(network()) == data8
    x = np.random.default_rng(2).normal(size=(200, FEATURES)).astype(np.float32)
    before, after = Graph(network())({"x": x}), Graph(data8)({"x": x})
    assert np.abs(before - after).max() < 0.1 * np.abs(before).max()
    assert (before.argmax(axis=1) == after.argmax(axis=1)).mean() > 0.95


def test_a_graph_without_products_has_nothing_to_quantise() -> None:
    assert int8(graphs.coded(2)) is None


def decision(**fields: object) -> Decision:
    plain = {"accepted": True, "reason": "", "milliseconds": (1.0, 4.0), "milliseconds_int8": (0.8, 3.0)}
    return msgspec.convert({**plain, **fields}, Decision)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"loss_change": 0.0019, "flips": 0.001}, []),
        ({"loss_change": -0.5}, []),
        ({"milliseconds_int8": (0.99, 3.99)}, ["is not faster here (0.99 × at 1, 1.00 × at 32 rows)"]),
        ({"milliseconds_int8": (10.3, 1.0)}, ["is not faster here (10.30 × at 1, 0.25 × at 32 rows)"]),
        ({"loss_change": 0.0021}, ["costs +0.0021 log-loss, at most 0.0020 is allowed"]),
        ({"flips": 0.0025}, ["flips 0.25% of the classes, at most 0.1% are allowed"]),
    ],
)
def test_the_bounds_are_those_that_are_promised(fields: dict[str, object], expected: list[str]) -> None:
    assert _objections(decision(**fields), LOG_LOSS, 0.5) == expected


def test_a_regressions_bound_grows_with_its_error() -> None:
    rmse = Objective("rmse")
    assert _objections(decision(loss_change=0.04), rmse, 10.0) == []
    assert _objections(decision(loss_change=0.06), rmse, 10.0) == ["costs +0.0600 rmse, at most 0.0500 is allowed"]


def test_a_decision_holds_what_was_measured() -> None:
    dataset = data()
    found = decide(made(network(), dataset, np.arange(ROWS)), dataset.rows, LOG_LOSS)
    assert len(found.milliseconds) == len(found.milliseconds_int8) == 2
    assert min(found.milliseconds) > 0
    assert 0 < found.batch_difference < 0.2
    assert 0 < found.bytes_int8 < found.bytes
    assert found.accepted == (found.reason == "is faster and within the bounds")


def test_what_is_served_in_8_bits_is_what_everything_is_fitted_to() -> None:
    """Demanded, so that it does not hang on this machine's clock."""
    dataset, spec = data(), Cnn(quantize="int8")
    jobs = {Job("net", spec, fold, 0): held for fold, held in
            ((FINAL, np.arange(0, 100)), (0, np.arange(100, 200)), (1, np.arange(200, 300)))}  # fmt: skip
    results = {job: made(network(), dataset, held) for job, held in jobs.items()}
    found, decisions = quantised(results, {"net": spec}, dataset, LOG_LOSS)
    data8 = int8(network())
    assert decisions["net"].accepted
    for job, before in results.items():
        assert found[job].onnx == data8
        assert not np.array_equal(found[job].outputs, before.outputs)
    ledger = ledger_of(found, ["net"], dataset)
    assert np.array_equal(ledger.outputs[0][:100], found[next(iter(jobs))].outputs)


def test_never_changes_nothing_and_a_group_keeps_its_file() -> None:
    dataset, spec = data(), Cnn()
    results = {Job("net", spec, FINAL, 0): made(network(), dataset, np.arange(50))}
    assert quantised(results, {"net": spec}, dataset, LOG_LOSS) == (results, {})
    head = replace(next(iter(results.values())), output="first")
    found = decide(head, dataset.rows.take(np.arange(50)), LOG_LOSS)
    assert (found.accepted, found.reason) == (False, "shares its file with other members")


def test_auto_leaves_alone_what_has_no_product_and_int8_says_so() -> None:
    dataset = data()
    graph = graphs.coded(2, features=FEATURES)
    x = dataset.rows.inputs["x"]
    result = Made(graph, "logits", np.arange(10), x[:10], Parity(rows=10, largest_difference=0.0), 0.0)
    auto, demanded = Cnn(quantize="auto"), Cnn(quantize="int8")
    found, decisions = quantised({Job("net", auto, FINAL, 0): result}, {"net": auto}, dataset, LOG_LOSS)
    assert decisions["net"].reason == "has no product with constant weights"
    assert next(iter(found.values())) is result
    with pytest.raises(ConversionError, match="member 'net': quantize is int8, but its graph has no product"):
        quantised({Job("net", demanded, FINAL, 0): result}, {"net": demanded}, dataset, LOG_LOSS)


def test_a_decision_changes_no_training() -> None:
    from exporter.data.splits import Split

    dataset = data()
    index = np.arange(10)
    split = Split(index, index, index, index, index)
    digests = {Job("net", Cnn(quantize=word), FINAL, 0).digest(dataset, split) for word in ("never", "auto", "int8")}
    assert len(digests) == 1
