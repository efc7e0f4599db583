"""Seeded networks as ONNX files, built node by node: `x` float32 [n, …] → `probabilities` float32 [n, C].

The weights are drawn, not trained: how long a network takes does not depend on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, compose, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""Old enough for every peer's onnxruntime."""
INPUT = "x"
OUTPUT = "probabilities"

Weights = dict[str, NDArray[np.float32]]


def perceptron(features: int, hidden: Sequence[int], classes: int, seed: int) -> ModelProto:
    """Dense layers with relu between them, softmax behind; `hidden` () is a logistic regression."""
    rng = np.random.default_rng(seed)
    nodes: list[NodeProto] = []
    weights: Weights = {}
    widths = (features, *hidden, classes)
    value = INPUT
    for number, (wide, narrow) in enumerate(itertools.pairwise(widths)):
        last = number == len(widths) - 2
        value = _dense(nodes, weights, value, number, rng, wide, narrow, relu=not last)
    return _model(nodes, weights, value, (features,), classes)


def convolutional(side: int, channels: Sequence[int], strides: Sequence[int], classes: int, seed: int) -> ModelProto:
    """3×3 convolutions with relu on 3 × `side` × `side`, mean over the positions, a dense layer, softmax."""
    rng = np.random.default_rng(seed)
    nodes: list[NodeProto] = []
    weights: Weights = {}
    value, wide = INPUT, 3
    for number, (narrow, stride) in enumerate(zip(channels, strides, strict=True)):
        value = _convolution(nodes, weights, value, number, rng, wide, narrow, stride)
        wide = narrow
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"]))
    value = _dense(nodes, weights, "features", len(channels), rng, wide, classes, relu=False)
    return _model(nodes, weights, value, (3, side, side), classes)


def averaged(members: Sequence[ModelProto]) -> ModelProto:
    """One graph that runs every member on the same `x` and gives the mean of their probabilities."""
    whole = compose.add_prefix(members[0], "m0_")
    for number, member in enumerate(members[1:], 1):
        whole = compose.merge_models(whole, compose.add_prefix(member, f"m{number}_"), io_map=[])
    graph = whole.graph
    for node in graph.node:
        node.input[:] = [INPUT if name.endswith(f"_{INPUT}") else name for name in node.input]
    shared = graph.input[0]
    shared.name = INPUT
    del graph.input[1:]
    votes = [f"m{number}_{OUTPUT}" for number in range(len(members))]
    graph.node.append(helper.make_node("Mean", votes, [OUTPUT]))
    graph.output[0].name = OUTPUT
    del graph.output[1:]
    checker.check_model(whole, full_check=True)
    return whole


def _dense(
    nodes: list[NodeProto],
    weights: Weights,
    value: str,
    number: int,
    rng: np.random.Generator,
    wide: int,
    narrow: int,
    *,
    relu: bool,
) -> str:
    weights[f"w{number}"] = _drawn(rng, (wide, narrow), wide)
    weights[f"b{number}"] = _drawn(rng, (narrow,), wide)
    nodes.append(helper.make_node("Gemm", [value, f"w{number}", f"b{number}"], [f"z{number}"]))
    if not relu:
        return f"z{number}"
    nodes.append(helper.make_node("Relu", [f"z{number}"], [f"a{number}"]))
    return f"a{number}"


def _convolution(
    nodes: list[NodeProto],
    weights: Weights,
    value: str,
    number: int,
    rng: np.random.Generator,
    wide: int,
    narrow: int,
    stride: int,
) -> str:
    weights[f"w{number}"] = _drawn(rng, (narrow, wide, 3, 3), wide * 9)
    weights[f"b{number}"] = _drawn(rng, (narrow,), wide * 9)
    inputs = [value, f"w{number}", f"b{number}"]
    node = helper.make_node("Conv", inputs, [f"z{number}"], pads=[1, 1, 1, 1], strides=[stride, stride])
    nodes.append(node)
    nodes.append(helper.make_node("Relu", [f"z{number}"], [f"a{number}"]))
    return f"a{number}"


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> NDArray[np.float32]:
    """Normal with variance 2 / fan-in (He et al. 2015), so that activations neither vanish nor explode."""
    drawn: NDArray[np.float32] = (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
    return drawn


def _model(nodes: list[NodeProto], weights: Weights, logits: str, shape: tuple[int, ...], classes: int) -> ModelProto:
    nodes.append(helper.make_node("Softmax", [logits], [OUTPUT], axis=1))
    graph = helper.make_graph(
        nodes,
        "member",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model, full_check=True)
    return model
