"""ZipMap taken out of a graph: its tensor is the output again, under the same name, and its labels are kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper

from exporter.onnx_graphs.edits import ML, add_constant, fresh, matrix, opset, replace_output
from exporter.onnx_graphs.labels import zipped


def unzip(model: ModelProto) -> dict[str, tuple[str, ...]]:
    """Make every output that a ZipMap gives the tensor [n, C] that went into it; output → its class names.

    Converters write a ZipMap (a list of name → probability maps) unless they are told not to, and CatBoost's own
    export always does. Edits `model`; an Identity stands in the node's place.
    """
    found: dict[str, tuple[str, ...]] = {}
    outputs = {entry.name for entry in model.graph.output}
    for node in model.graph.node:
        if node.op_type != "ZipMap" or node.domain != ML or node.output[0] not in outputs:
            continue
        name, names = node.output[0], zipped(node)
        opset(model)
        node.CopyFrom(helper.make_node("Identity", list(node.input), [name]))
        replace_output(model, name, matrix(name, len(names) or None))
        found[name] = names
    return found


def columns_of(model: ModelProto, labels: Sequence[str]) -> list[str] | None:
    """The outputs that give one class each, in the order of `labels`; None where there are none.

    skl2onnx with zipmap='columns' calls them after the label, with an `i` or an `s` before it for its type.
    """
    floats = [entry.name for entry in model.graph.output if entry.type.tensor_type.elem_type == TensorProto.FLOAT]
    by_label = {name[1:]: name for name in floats if name[:1] in ("i", "s")}
    if len(labels) < 2 or not all(label in by_label for label in labels):
        return None
    return [by_label[label] for label in labels]


def join(model: ModelProto, columns: Sequence[str], name: str = "probabilities") -> str:
    """Make one output [n, C] of outputs [n] or [n, 1] of a class each; the name that it got. Edits `model`."""
    shape = add_constant(model, "column_shape", np.array([-1, 1], np.int64))
    parts = []
    for column in columns:
        parts.append(fresh(model, f"{column}_column"))
        model.graph.node.append(helper.make_node("Reshape", [column, shape], [parts[-1]]))
    joined = fresh(model, name)
    model.graph.node.append(helper.make_node("Concat", parts, [joined], axis=1))
    replace_output(model, columns[0], matrix(joined, len(columns)))
    kept = [copy.copy(entry) for entry in model.graph.output if entry.name not in columns]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return joined
