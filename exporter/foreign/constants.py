"""Inputs that are settings or states, not rows: they get their value in the graph and are inputs no more."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.onnx_graphs.edits import add_constant, fresh
from server.runtime.datatypes import DATATYPES, NUMPY_TYPES, TensorInfo


def bound(file: ModelFile, tensor: str, value: NDArray[Any]) -> ModelFile:
    """The file with `value` in the place of its input `tensor`; one number fills whatever shape that has.

    A dimension without a size is that of the rows. Raises ModelFileError.
    """
    own = next((entry for entry in file.inputs if entry.name == tensor), None)
    if own is None:
        names = ", ".join(f"'{entry.name}'" for entry in file.inputs)
        raise ModelFileError(f"has no input '{tensor}' for --constant, its inputs are {names}")
    if own.type not in DATATYPES:
        raise ModelFileError(f"its input '{tensor}' is {own.type}, for which there is no constant")
    others = [entry for entry in file.inputs if entry.name != tensor]
    if not others:
        raise ModelFileError(f"'{tensor}' is its only input: with a constant there it would answer nothing")
    array = np.asarray(value, dtype=NUMPY_TYPES[DATATYPES[own.type]])
    graph = deepcopy(file.graph)
    kept = [entry for entry in graph.graph.input if entry.name != tensor]
    del graph.graph.input[:]
    graph.graph.input.extend(kept)
    _give(graph, own, _shaped(own, array), others[0].name)
    return file.edited(graph, f"its input '{tensor}' is the constant {_told(array)}")


def _shaped(own: TensorInfo, array: NDArray[Any]) -> NDArray[Any]:
    """The value with 1 for each dimension without a size; raises ModelFileError where it does not fit the others."""
    if array.ndim == 0 and own.shape:
        sizes = [size if isinstance(size, int) else 1 for size in own.shape]
        return np.full(sizes, array)
    wanted = own.shape
    fits = len(wanted) == array.ndim and all(
        not isinstance(size, int) or size == given for size, given in zip(wanted, array.shape, strict=True)
    )
    if own.shape and not fits:
        shape = [size if isinstance(size, int) else "?" for size in wanted]
        raise ModelFileError(f"its input '{own.name}' is {shape}, --constant gives {list(array.shape)}")
    return array


def _give(graph: ModelProto, own: TensorInfo, array: NDArray[Any], rows_of: str) -> None:
    """A constant of the input's name, repeated along the dimensions that have no size: once for each row."""
    open_axes = [axis for axis, size in enumerate(own.shape) if not isinstance(size, int)]
    if not open_axes or any(array.shape[axis] != 1 for axis in open_axes):
        graph.graph.initializer.append(_tensor(own.name, array))
        return
    value = add_constant(graph, f"{own.name}_value", array)
    shape, rows, whole = (fresh(graph, f"{own.name}_{what}") for what in ("source", "rows", "shape"))
    first = add_constant(graph, f"{own.name}_first", np.array([0], np.int64))
    sizes = [
        rows if axis in open_axes else add_constant(graph, f"{own.name}_size", np.array([size], np.int64))
        for axis, size in enumerate(array.shape)
    ]
    nodes = [
        helper.make_node("Shape", [rows_of], [shape]),
        helper.make_node("Gather", [shape, first], [rows]),
        helper.make_node("Concat", sizes, [whole], axis=0),
        helper.make_node("Expand", [value, whole], [own.name]),
    ]
    rest = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes, *rest])


def _tensor(name: str, array: NDArray[Any]) -> Any:
    from onnx import TensorProto, numpy_helper

    if array.dtype == np.object_:
        return helper.make_tensor(name, TensorProto.STRING, array.shape, list(map(str, array.ravel())))  # type: ignore[arg-type]  # strings are let through
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


def _told(array: NDArray[Any]) -> str:
    return str(array.item()) if array.size == 1 else f"{array.dtype} {list(array.shape)}"
