"""Answers that are nearly [n, C]: ones behind the columns taken off, rows that nearly sum to 1 divided by their sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from exporter.onnx_graphs.edits import add_constant, fresh, opset, replace_output

_AXES_AS_INPUT = 13
"""The operator set from which ReduceSum takes its axes as an input."""


def flattened(model: ModelProto, output: str) -> str:
    """Make the output [n, C, 1, …] one of [n, C]; the name that it got. Edits `model`."""
    opset(model)
    name = fresh(model, f"{output}_flat")
    model.graph.node.append(helper.make_node("Flatten", [output], [name], axis=1))
    _replaced(model, output, name)
    return name


def as_floats(model: ModelProto, output: str) -> str:
    """Make the output of whole numbers or truth values one of floats; the name that it got. Edits `model`."""
    opset(model)
    name = fresh(model, f"{output}_float")
    model.graph.node.append(helper.make_node("Cast", [output], [name], to=TensorProto.FLOAT))
    entry = ValueInfoProto()
    entry.CopyFrom(next(entry for entry in model.graph.output if entry.name == output))
    entry.name, entry.type.tensor_type.elem_type = name, TensorProto.FLOAT
    replace_output(model, output, entry)
    return name


def divided_by_sum(model: ModelProto, output: str) -> str:
    """Make the output [n, C] one whose rows sum to 1; the name that it got. Edits `model`."""
    total, name = fresh(model, f"{output}_sum"), fresh(model, f"{output}_normalised")
    if opset(model) >= _AXES_AS_INPUT:
        axes = add_constant(model, f"{output}_axis", np.array([1], np.int64))
        summed = helper.make_node("ReduceSum", [output, axes], [total], keepdims=1)
    else:
        summed = helper.make_node("ReduceSum", [output], [total], axes=[1], keepdims=1)
    model.graph.node.extend((summed, helper.make_node("Div", [output, total], [name])))
    _replaced(model, output, name)
    return name


def declared_as(model: ModelProto, output: str, shape: Sequence[int]) -> bool:
    """Correct the declared shape of an output that gave [n, *shape]; whether there was anything to correct.

    skl2onnx declares [n, 1] for forests of several targets, onnxmltools [1] for labels. Sizes that are not stated stay
    so. Edits `model`.
    """
    entry = next(entry for entry in model.graph.output if entry.name == output)
    dims = entry.type.tensor_type.shape.dim
    if not dims or len(dims) != len(shape) + 1:
        return False
    wrong = False
    for dim, size in zip(dims, (None, *shape), strict=True):
        if dim.HasField("dim_value") and dim.dim_value > 0 and dim.dim_value != size:
            dim.Clear()
            if size is not None:
                dim.dim_value = size
            wrong = True
    return wrong


def _replaced(model: ModelProto, old: str, new: str) -> None:
    """Declare `new` [n, C] in the place of the output `old`, of the same type."""
    found = next(entry for entry in model.graph.output if entry.name == old).type.tensor_type
    sizes = found.shape.dim
    columns = sizes[1].dim_value if len(sizes) > 1 and sizes[1].HasField("dim_value") else None
    entry: ValueInfoProto = helper.make_tensor_value_info(new, found.elem_type, ["n", columns])
    replace_output(model, old, entry)
