"""Answers whose rows are not their first dimension, or that have needless ones: turned where sizes leave no doubt."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from exporter.foreign.model_file import ModelFile
from exporter.onnx_graphs.edits import add_constant, fresh, matrix, opset, replace_output
from model_repo.format.manifest import Task
from model_repo.format.rules import CLASSLESS
from server.runtime.datatypes import Array, TensorInfo

_PAIRS = "; with --task multilabel the second of each pair is the probability of that label"


def stacked(file: ModelFile) -> ModelFile:
    """The file with its list of tensors [n, 2], one for each label, as one output [L, n, 2]; as it is without a list.

    So skl2onnx writes scikit-learn's MultiOutputClassifier. Raises ModelFileError.
    """
    lists = [entry for entry in file.session.outputs if entry.type == "seq(tensor(float))"]
    if len(lists) != 1:
        return file
    old = lists[0].name
    graph = deepcopy(file.graph)
    opset(graph)
    name = fresh(graph, f"{old}_stacked")
    graph.graph.node.append(helper.make_node("ConcatFromSequence", [old], [name], axis=0, new_axis=1))
    replace_output(graph, old, helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None]))
    return file.edited(graph, f"the tensors of its list '{old}' are one, as '{name}'")


def rows_first(file: ModelFile, output: str, values: Array, alone: Array, task: Task | None) -> tuple[ModelFile, str]:
    """The file with `output` as [n, C], and its name there; both as they are where nothing is to turn.

    `values` is what it gave for several rows and `alone` for the first of them. Turned are [1, n, C], a dimension too
    many, and [L, n, 2], labels that scikit-learn's trees and neighbours answer one behind the other. Raises
    ModelFileError where onnxruntime does not open the graph.
    """
    if pairs(values, alone) and task == "multilabel":
        graph = deepcopy(file.graph)
        name = _second_of_pairs(graph, output, len(values))
        return file.edited(graph, f"its output '{output}' [{len(values)}, n, 2] holds labels, as '{name}' [n, L]"), name
    if values.ndim == 3 and values.shape[0] == 1 and _turned(values, alone):
        graph = deepcopy(file.graph)
        name = fresh(graph, f"{output}_rows")
        graph.graph.node.append(helper.make_node("Flatten", [output], [name], axis=2))
        replace_output(graph, output, matrix(name, values.shape[2], _element(graph, output)))
        return file.edited(
            graph, f"its output '{output}' [1, n, {values.shape[2]}] loses the one before, as '{name}'"
        ), name
    return file, output


def needless(output: TensorInfo, values: Array, task: Task | None) -> str | None:
    """Where the answer has dimensions of 1 that say nothing; None where it has none, or they may be other ones."""
    if values.ndim < 3:
        return None
    if all(size == 1 for size in values.shape[2:]):
        return "behind" if _always_ones(output) else None
    declared = output.shape[1:]
    alone = len(declared) == values.ndim - 1 and [isinstance(s, int) and s > 1 for s in declared].count(True) == 1
    classes = task not in CLASSLESS
    return "between" if classes and alone and all(isinstance(size, int) for size in declared) else None


def _always_ones(output: TensorInfo) -> bool:
    """Whether the dimensions behind the columns are 1 whatever comes in, as far as the file says."""
    return all(size == 1 or size is None or isinstance(size, str) for size in output.shape[2:])


def hint(values: Array, alone: Array) -> str:
    """What can be said where the rows are not the first dimension; empty where there is no way."""
    return _PAIRS if pairs(values, alone) else ""


def pairs(values: Array, alone: Array) -> bool:
    """Whether the answers are [L, n, 2] of probabilities."""
    return (
        values.ndim == 3
        and values.shape[2] == 2
        and _turned(values, alone)
        and bool(np.allclose(values.sum(axis=2), 1, atol=1e-3))
    )


def _turned(values: Array, alone: Array) -> bool:
    """Whether the rows are the second dimension."""
    return alone.ndim == 3 and alone.shape[1] == 1 < values.shape[1] and alone.shape[::2] == values.shape[::2]


def _second_of_pairs(graph: ModelProto, output: str, labels: int) -> str:
    second, name = (fresh(graph, f"{output}_{what}") for what in ("second", "labels"))
    place = add_constant(graph, f"{output}_place", np.array(1, np.int64))
    made: list[NodeProto] = [
        helper.make_node("Gather", [output, place], [second], axis=2),
        helper.make_node("Transpose", [second], [name], perm=[1, 0]),
    ]
    graph.graph.node.extend(made)
    replace_output(graph, output, matrix(name, labels, _element(graph, output)))
    return name


def _element(graph: ModelProto, output: str) -> int:
    entry = next(entry for entry in graph.graph.output if entry.name == output)
    return int(entry.type.tensor_type.elem_type)
