"""An isolation forest as one ONNX node: each leaf holds its path length.

skl2onnx writes a graph of about ten nodes a tree for the same (measured: 1,000 nodes for 100 trees); here a
TreeEnsembleRegressor sums the path lengths up and two nodes more make scikit-learn's score of the sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from exporter.conversion.graph import IR_VERSION, ML_OPSET, OPSET
from exporter.conversion.tree_graph import FLAT, VALUE, below


def isolation_graph(forest: Any, features: int) -> ModelProto:
    """`flat` float32 [n, features] → `variable` [n, 1]: 2^(−mean path length / normaliser), −`score_samples`."""
    trees = helper.make_node(
        "TreeEnsembleRegressor", [FLAT], ["paths"], domain="ai.onnx.ml", n_targets=1, aggregate_function="SUM",
        post_transform="NONE", **_attributes(forest),  # type: ignore[arg-type]  # onnx types its own keywords, not attributes
    )  # fmt: skip
    scale = -1.0 / (len(forest.estimators_) * float(average_path_length(np.array([forest.max_samples_]))[0]))
    nodes = [
        trees,
        helper.make_node("Mul", ["paths", "scale"], ["exponent"]),
        helper.make_node("Pow", ["two", "exponent"], [VALUE]),
    ]
    constants = {"scale": np.array([scale], np.float32), "two": np.array([2.0], np.float32)}
    graph = helper.make_graph(
        nodes,
        "forest",
        [helper.make_tensor_value_info(FLAT, TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info(VALUE, TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def average_path_length(rows: Any) -> Any:
    """Expected depth of an unsuccessful search among so many rows: what a leaf that was not split on stands for."""
    rows = np.asarray(rows, dtype=np.float64)
    many = np.maximum(rows, 3.0)
    length = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(rows <= 1, 0.0, np.where(rows <= 2, 1.0, length))


def _attributes(forest: Any) -> dict[str, list[Any]]:
    """The trees as the operator takes them: parallel lists over all nodes, and over all leaves."""
    found: dict[str, list[Any]] = {
        name: []
        for name in (
            "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
            "nodes_falsenodeids", "target_treeids", "target_nodeids", "target_ids", "target_weights",
        )
    }  # fmt: skip
    for number, (estimator, columns) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        _add(found, number, estimator.tree_, columns)
    return found


def _add(found: dict[str, list[Any]], number: int, tree: Any, columns: Any) -> None:
    leaf = tree.children_left < 0
    count = len(leaf)
    thresholds = np.where(leaf, 0.0, below(tree.threshold))
    found["nodes_treeids"] += [number] * count
    found["nodes_nodeids"] += list(range(count))
    found["nodes_featureids"] += np.where(leaf, 0, columns[np.maximum(tree.feature, 0)]).tolist()
    found["nodes_values"] += thresholds.tolist()
    found["nodes_modes"] += np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
    found["nodes_truenodeids"] += np.where(leaf, 0, tree.children_left).tolist()
    found["nodes_falsenodeids"] += np.where(leaf, 0, tree.children_right).tolist()
    lengths = _depths(tree) + average_path_length(tree.n_node_samples)
    places = np.flatnonzero(leaf).tolist()
    found["target_treeids"] += [number] * len(places)
    found["target_nodeids"] += places
    found["target_ids"] += [0] * len(places)
    found["target_weights"] += lengths[leaf].tolist()


def _depths(tree: Any) -> Any:
    """Edges from the root to each node; a child's number is greater than its parent's."""
    depths = np.zeros(tree.node_count)
    for node in range(tree.node_count):
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depths[child] = depths[node] + 1
    return depths
