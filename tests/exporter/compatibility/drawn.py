"""Graphs node by node, as converters that the tests do without write them, and heads of networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from tests.exporter.compatibility.table import Brought, Expected
from tests.exporter.publishing.foreign import W, floats, rows, scored, sigmoid, softmax

NAMES = ("cat", "dog", "eel")
Z: NDArray[Any] = rows() @ W


def trees(path: Path, tensor: str, attributes: dict[str, Any], *more: NodeProto, ml: int) -> Expected:
    """A stump on the first feature; as XGBoost's and CatBoost's files it imports `ai.onnx.ml` alone, IR version 3."""
    label = TensorProto.STRING if "classlabels_strings" in attributes else TensorProto.INT64
    node = helper.make_node(
        "TreeEnsembleClassifier", [tensor], ["label", "probability_tensor" if more else "probabilities"],
        domain="ai.onnx.ml", nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values=[0.25, 0.0, 0.0], nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0], nodes_hitrates=[1.0] * 3, nodes_missing_value_tracks_true=[0, 0, 0],
        class_treeids=[0] * 6, class_nodeids=[1, 1, 1, 2, 2, 2], class_ids=[0, 1, 2] * 2,
        class_weights=[2.0, 0.0, -1.0, -1.0, 0.5, 1.0], post_transform="SOFTMAX", **attributes,
    )  # fmt: skip
    outputs = [helper.make_tensor_value_info("label", label, ["N"])]
    if more:
        entry = helper.make_map_type_proto(label, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs.append(helper.make_value_info("probabilities", helper.make_sequence_type_proto(entry)))
    else:
        outputs.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3]))
    taken = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph([node, *more], "trees", [taken], outputs)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", ml)], ir_version=3)
    path.write_bytes(model.SerializeToString())
    below = rows()[:, :1] <= 0.25
    p = softmax(np.where(below, [[2.0, 0.0, -1.0]], [[-1.0, 0.5, 1.0]]))
    return Expected({tensor: rows()}, {"probabilities": p, "label": np.array(NAMES)[p.argmax(axis=1)]}, NAMES)


def xgboost(folder: Path) -> Expected:
    return trees(folder / "xgb.onnx", "input", {"classlabels_int64s": [0, 1, 2]}, ml=1)


def catboost(folder: Path) -> Expected:
    labels: dict[str, Any] = {"classlabels_strings": list(NAMES)}
    zipmap = helper.make_node("ZipMap", ["probability_tensor"], ["probabilities"], domain="ai.onnx.ml", **labels)
    return trees(folder / "cat.onnx", "features", labels, zipmap, ml=2)


def network(folder: Path, *nodes: NodeProto, metadata: dict[str, str] | None = None, **constants: Any) -> None:
    """net.onnx: y [n, 3, …] made of z = x W."""
    shape = constants.pop("dims", (3,))
    (folder / "net.onnx").write_bytes(scored(W, nodes, [floats("y", *shape)], constants, metadata))


def expected(p: NDArray[Any], atol: float = 1e-5) -> Expected:
    return Expected({"x": rows()}, {"probabilities": p}, NAMES, atol)


def with_metadata(folder: Path) -> Expected:
    network(folder, helper.make_node("Softmax", ["z"], ["y"], axis=1),
            metadata={"names": "{0: 'cat', 1: 'dog', 2: 'eel'}"})  # fmt: skip
    return expected(softmax(Z))


def logits(folder: Path) -> Expected:
    network(folder, helper.make_node("Identity", ["z"], ["y"]))
    return expected(softmax(Z))


def sigmoids(folder: Path) -> Expected:
    network(folder, helper.make_node("Sigmoid", ["z"], ["y"]))
    labels = {"probabilities": sigmoid(Z), "labels": sigmoid(Z) >= 0.5}
    return Expected({"x": rows()}, labels, ("news", "sport", "art"))


def eight_bits(folder: Path) -> Expected:
    nodes = [
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("QuantizeLinear", ["p", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    network(folder, *nodes, scale=np.array(1 / 256, np.float32), zero=np.array(0, np.uint8))
    return expected(softmax(Z), atol=0.005)


def head(folder: Path) -> Expected:
    nodes = [
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("Reshape", ["p", "shape"], ["y"]),
    ]
    network(folder, *nodes, dims=(3, 1, 1), shape=np.array([0, 3, 1, 1], np.int64))
    return expected(softmax(Z))


BROUGHT: dict[str, Brought] = {
    "XGBoost through onnxmltools": xgboost,
    "CatBoost's own export": catboost,
    "a network that ends in a softmax, class names in its metadata": with_metadata,
    "a network that ends in logits": logits,
    "a network that ends in sigmoids, a label each": sigmoids,
    "a softmax in 8 bits, rows that sum to 0.99": eight_bits,
    "a convolutional head `[n, C, 1, 1]`": head,
}
