"""Tiny ONNX members for tests: built node by node, a few hundred bytes, run by the real onnxruntime.

Unless told otherwise a member takes `x` float32 [n, F] and gives `y` float32 [n, C].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 9
FLOAT = TensorProto.FLOAT
Dims = Sequence[int | str]


def coded(version: int, features: int = 1) -> bytes:
    """y = version · x, [n, features] → [n, features]: a value that proves which version answered."""
    return _built(
        [helper.make_node("Mul", ["x", "code"], ["y"])],
        [("x", FLOAT, ["n", features])],
        [("y", FLOAT, ["n", features])],
        {"code": np.array([version], dtype=np.float32)},
    )


def linear(weights: ArrayLike, bias: ArrayLike | None = None, *, opset: int = OPSET) -> bytes:
    """y = x W + b for W [F, C]: logits, scores or, with C = 1, a regression's value."""
    return _built(*_linear(weights, bias, "y"), opset=opset)


def softmax_linear(
    weights: ArrayLike, bias: ArrayLike | None = None, *, input_name: str = "x", opset: int = OPSET
) -> bytes:
    """y = softmax(x W + b) for W [F, C]: a classifier's probabilities."""
    nodes, inputs, outputs, constants = _linear(weights, bias, "z")
    nodes.append(helper.make_node("Softmax", ["z"], ["y"], axis=1))
    outputs = [("y", FLOAT, outputs[0][2])]
    return _renamed(_built(nodes, inputs, outputs, constants, opset=opset), "x", input_name)


def heads(trunk: ArrayLike, weights: Sequence[ArrayLike]) -> bytes:
    """y0, y1, … = softmax(tanh(x T) W_k): one trunk [F, H] and several heads [H, C] in one file."""
    T = np.asarray(trunk, dtype=np.float32)
    Ws = [np.asarray(W, dtype=np.float32) for W in weights]
    nodes = [helper.make_node("MatMul", ["x", "T"], ["xT"]), helper.make_node("Tanh", ["xT"], ["hidden"])]
    for k in range(len(Ws)):
        nodes.append(helper.make_node("MatMul", ["hidden", f"W{k}"], [f"z{k}"]))
        nodes.append(helper.make_node("Softmax", [f"z{k}"], [f"y{k}"], axis=1))
    outputs: list[Tensor] = [(f"y{k}", FLOAT, ["n", W.shape[1]]) for k, W in enumerate(Ws)]
    constants = {"T": T} | {f"W{k}": W for k, W in enumerate(Ws)}
    return _built(nodes, [("x", FLOAT, ["n", T.shape[0]])], outputs, constants)


def sigmoid_linear(weights: ArrayLike, bias: ArrayLike | None = None, *, rank: int = 2) -> bytes:
    """y = sigmoid(x W + b) for W [F, 1]: a binary classifier with one column, [n, 1] or (`rank` 1) [n]."""
    nodes, inputs, _, constants = _linear(weights, bias, "z")
    nodes.append(helper.make_node("Sigmoid", ["z"], ["p"]))
    shape: list[int | str] = ["n", 1] if rank == 2 else ["n"]
    constants["shape"] = np.array([-1, 1] if rank == 2 else [-1], dtype=np.int64)
    nodes.append(helper.make_node("Reshape", ["p", "shape"], ["y"]))
    return _built(nodes, inputs, [("y", FLOAT, shape)], constants)


def nan_above(threshold: float, weights: ArrayLike) -> bytes:
    """softmax(x W), but NaN in each row whose first feature is above the threshold."""
    nodes, inputs, outputs, constants = _linear(weights, None, "z")
    constants |= {"limit": np.array([[threshold]], dtype=np.float32), "nan": np.array([[np.nan]], dtype=np.float32)}
    constants |= {"first": np.array([0], dtype=np.int64)}
    nodes += [
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("Gather", ["x", "first"], ["lead"], axis=1),
        helper.make_node("Greater", ["lead", "limit"], ["over"]),
        helper.make_node("Where", ["over", "nan", "p"], ["y"]),
    ]
    return _built(nodes, inputs, [("y", FLOAT, outputs[0][2])], constants)


def raising_above(threshold: float, weights: ArrayLike) -> bytes:
    """softmax(x W), but the run raises when a row's first feature is above the threshold.

    Such a row gathers from a place outside its table: the whole batch fails, as real models do.
    """
    nodes, inputs, outputs, constants = _linear(weights, None, "z")
    constants |= {"limit": np.array(threshold, dtype=np.float32), "first": np.array(0, dtype=np.int64)}
    constants |= {"table": np.zeros(1, dtype=np.float32), "outside": np.array(1_000_000, dtype=np.int64)}
    constants |= {"axis": np.array([1], dtype=np.int64)}
    nodes += [
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("Gather", ["x", "first"], ["lead"], axis=1),
        helper.make_node("Greater", ["lead", "limit"], ["over"]),
        helper.make_node("Cast", ["over"], ["flag"], to=TensorProto.INT64),
        helper.make_node("Mul", ["flag", "outside"], ["place"]),
        helper.make_node("Gather", ["table", "place"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "axis"], ["column"]),
        helper.make_node("Add", ["p", "column"], ["y"]),
    ]
    return _built(nodes, inputs, [("y", FLOAT, outputs[0][2])], constants)


def keyword(words: Sequence[str], classes: int, *, name: str = "text") -> bytes:
    """Strings [n] → probabilities [n, C]: word k of `words` is class k, anything else is uniform."""
    table = np.full((len(words) + 1, classes), 1.0 / classes, dtype=np.float32)
    for row in range(len(words)):
        table[row] = 0.1 / (classes - 1)
        table[row, row] = 0.9
    nodes = [
        helper.make_node(
            "LabelEncoder",
            [name],
            ["row"],
            domain="ai.onnx.ml",
            keys_strings=list(words),
            values_int64s=list(range(len(words))),
            default_int64=len(words),
        ),
        helper.make_node("Gather", ["table", "row"], ["y"], axis=0),
    ]
    return _built(nodes, [(name, TensorProto.STRING, ["n"])], [("y", FLOAT, ["n", classes])], {"table": table}, ml=3)


def branching(weights: ArrayLike) -> bytes:
    """softmax(x W) inside both branches of an `If`, which reads the outer graph's constants."""
    W = np.asarray(weights, dtype=np.float32)
    inner = [helper.make_node("MatMul", ["x", "W"], ["z"]), helper.make_node("Softmax", ["z"], ["q"], axis=1)]
    shape: Dims = ["n", W.shape[1]]
    branch = helper.make_graph(inner, "branch", [], [_value("q", FLOAT, shape)])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch, else_branch=branch),
    ]
    constants = {"W": W, "zero": np.array(0.0, dtype=np.float32)}
    return _built(nodes, [("x", FLOAT, ["n", W.shape[0]])], [("y", FLOAT, shape)], constants)


def stacker(members: int, classes: int, weights: ArrayLike | None = None) -> bytes:
    """A learned fusion `p` [n, K, C] → `q` [n, C]: softmax of the flattened input times W [K·C, C]."""
    W = np.tile(np.eye(classes), (members, 1)) * 4.0 if weights is None else np.asarray(weights)
    nodes = [
        helper.make_node("Flatten", ["p"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["q"], axis=1),
    ]
    return _built(
        nodes,
        [("p", FLOAT, ["n", members, classes])],
        [("q", FLOAT, ["n", classes])],
        {"W": W.astype(np.float32)},
    )


def constant(row: ArrayLike, features: int = 1) -> bytes:
    """The same row [C] whatever comes in."""
    values = np.asarray(row, dtype=np.float32)
    return linear(np.zeros((features, len(values))), values)


def fixed_batch(weights: ArrayLike, rows: int = 1) -> bytes:
    """softmax(x W) declared for exactly `rows` rows: an export that forgot its dynamic batch."""
    nodes, inputs, outputs, constants = _linear(weights, None, "z")
    nodes.append(helper.make_node("Softmax", ["z"], ["y"], axis=1))
    return _built(nodes, [("x", FLOAT, [rows, inputs[0][2][1]])], [("y", FLOAT, [rows, outputs[0][2][1]])], constants)


def with_external(model: bytes, location: str) -> tuple[bytes, bytes]:
    """The model with every constant moved to one external file at `location`, and that file's content."""
    proto = ModelProto.FromString(model)
    content = b""
    for tensor in proto.graph.initializer:
        raw = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", str(len(content))), ("length", str(len(raw)))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        content += raw
    return proto.SerializeToString(), content


Tensor = tuple[str, int, Dims]


def _linear(
    weights: ArrayLike, bias: ArrayLike | None, output: str
) -> tuple[list[NodeProto], list[Tensor], list[Tensor], dict[str, NDArray[Any]]]:
    W = np.asarray(weights, dtype=np.float32)
    b = np.zeros(W.shape[1], dtype=np.float32) if bias is None else np.asarray(bias, dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", "W"], ["xW"]), helper.make_node("Add", ["xW", "b"], [output])]
    features, columns = W.shape
    return nodes, [("x", FLOAT, ["n", features])], [(output, FLOAT, ["n", columns])], {"W": W, "b": b}


def _built(
    nodes: Sequence[NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: Mapping[str, NDArray[Any]],
    *,
    opset: int = OPSET,
    ml: int | None = None,
) -> bytes:
    graph: GraphProto = helper.make_graph(
        list(nodes),
        "member",
        [_value(*entry) for entry in inputs],
        [_value(*entry) for entry in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    if ml is not None:
        opsets.append(helper.make_opsetid("ai.onnx.ml", ml))
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return model


def _value(name: str, kind: int, shape: Dims) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _renamed(model: bytes, old: str, new: str) -> bytes:
    """The model with its input `old` called `new`."""
    proto = ModelProto.FromString(model)
    for entry in proto.graph.input:
        entry.name = new if entry.name == old else entry.name
    for node in proto.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = new if name == old else name
    renamed: bytes = proto.SerializeToString()
    return renamed
