"""A graph that was exported for one number of rows, edited to take any: often nothing but its declarations say one.

What is edited beside those: shapes that Reshape and Expand have as constants, initial states of recurrent layers that
are all zeros, and constants that are joined to every row. Nothing here proves that the result computes the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from exporter.onnx_graphs.edits import add_constant, attributes, constant, fresh, producers

ROWS = "n"
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
"""Recurrent layers and the places of their initial states among their inputs; left out they are zeros."""


def unfix(model: ModelProto, rows: int) -> None:
    """Let the first dimension of every input and output that is `rows` be any."""
    shapes = _shapes(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    fed = [entry for entry in model.graph.input if entry.name not in constants]
    for entry in (*fed, *model.graph.output):
        dims = entry.type.tensor_type.shape.dim
        if dims and dims[0].dim_value == rows:
            dims[0].dim_param = ROWS
    del model.graph.value_info[:]
    count: list[str] = []
    for node in list(model.graph.node):
        if node.op_type == "Reshape":
            _reshape(model, node, rows, shapes)
        elif node.op_type == "Expand":
            _expand(model, node, rows)
        elif node.op_type in _STATES:
            _stateless(model, node)
        elif node.op_type == "Concat":
            _joined(model, node, rows, fed[0].name, count)


def _shapes(model: ModelProto) -> dict[str, list[int]]:
    """Tensor → its sizes, as far as they can be inferred; 0 for one that is not known."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # checks and pybind raise several types: it is a hint and no more
        graph = model.graph
    return {
        entry.name: [size.dim_value for size in entry.type.tensor_type.shape.dim]
        for entry in (*graph.input, *graph.value_info)
    }


def _reshape(model: ModelProto, node: NodeProto, rows: int, shapes: dict[str, list[int]]) -> None:
    shape = constant(model.graph, producers(model.graph), node.input[1])
    literal = next((entry for entry in node.attribute if entry.name == "allowzero"), None)
    if shape is None or not shape.size or (literal is not None and literal.i and 0 in shape.tolist()):
        return
    first, free = int(shape[0]), -1 in shape.tolist()
    given = shapes.get(node.input[0], [])
    of_rows = bool(given) and given[0] == rows
    wanted = shape.copy()
    if first == rows and not free:
        wanted[0] = -1
    elif first == rows:
        wanted[0] = 0  # as the input's: another dimension is the free one
        if literal is not None:
            node.attribute.remove(literal)
    elif first > 0 and not free and of_rows and first % rows == 0:
        wanted[0] = -1
    if not np.array_equal(wanted, shape):
        node.input[1] = add_constant(model, f"{node.input[1]}_any", wanted)


def _expand(model: ModelProto, node: NodeProto, rows: int) -> None:
    shape = constant(model.graph, producers(model.graph), node.input[1])
    if shape is not None and shape.size > 1 and int(shape[0]) == rows:
        wanted = shape.copy()
        wanted[0] = 1  # which leaves the dimension as it is
        node.input[1] = add_constant(model, f"{node.input[1]}_any", wanted)


def _stateless(model: ModelProto, node: NodeProto) -> None:
    makers = producers(model.graph)
    for place in _STATES[node.op_type]:
        if place < len(node.input) and node.input[place]:
            state = constant(model.graph, makers, node.input[place])
            if state is not None and not state.any():
                node.input[place] = ""


def _joined(model: ModelProto, node: NodeProto, rows: int, fed: str, count: list[str]) -> None:
    """A constant [rows, …] that is put beside what depends on the rows, such as a class token, once for each row."""
    if attributes(node).get("axis", 0) == 0:
        return
    makers = producers(model.graph)
    values = [constant(model.graph, makers, name) for name in node.input]
    for place, value in enumerate(values):
        alike = value is not None and value.ndim > 1 and len(value) == rows and bool((value == value[:1]).all())
        if value is not None and alike and any(other is None for other in values):
            node.input[place] = _repeated(model, node.input[place], value[:1], fed, count)


def _repeated(model: ModelProto, name: str, row: NDArray[Any], fed: str, count: list[str]) -> str:
    """Nodes that repeat `row` [1, …] as often as `fed` has rows; `count` holds that number's tensor once made."""
    made: list[NodeProto] = []
    if not count:
        count.append(fresh(model, "rows"))
        whole = fresh(model, "rows_shape")
        first = add_constant(model, "rows_first", np.array([0], np.int64))
        made.append(helper.make_node("Shape", [fed], [whole]))
        made.append(helper.make_node("Gather", [whole, first], [count[0]]))
    once = add_constant(model, f"{name}_row", np.ascontiguousarray(row))
    ones = add_constant(model, f"{name}_ones", np.ones(row.ndim - 1, np.int64))
    shape, result = fresh(model, f"{name}_shape"), fresh(model, f"{name}_rows")
    made.append(helper.make_node("Concat", [count[0], ones], [shape], axis=0))
    made.append(helper.make_node("Expand", [once, shape], [result]))
    for node in reversed(made):
        model.graph.node.insert(0, node)
    return result
