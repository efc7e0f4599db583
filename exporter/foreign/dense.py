"""Answers with a distribution at each position: where the classes are, brought behind the rows, and how many fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
from onnx import ModelProto, helper

from exporter.errors import BundleError
from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.onnx_graphs.edits import fresh, opset, replace_output
from server.runtime.datatypes import Array, TensorInfo

MOST_STORED = 2**23
"""Numbers of golden rows: 32 MiB of them, of the 256 MiB that a server reads."""
MOST_AT_ONCE = 2**24
"""Numbers of all members for one batch: 128 MiB while they are fused."""
DISTRIBUTED = 1e-3
"""How far from 1 a sum over the classes may be for the axis to be theirs."""


def classes_first(
    file: ModelFile, output: TensorInfo, values: Array, classes: int | None
) -> tuple[ModelFile, TensorInfo, Array]:
    """The member with its classes behind the rows, [n, C, …]; turned in its graph where they are last.

    `classes` is how many there are, where somebody says. Raises ModelFileError where two axes could be theirs.
    """
    if values.ndim < 3:
        raise ModelFileError(
            f"its output '{output.name}' is {list(values.shape)} for {len(values)} rows, a dense answer is [n, C, …] "
            "or [n, …, C]; without --task dense it has one answer a row"
        )
    if _axis(output, values, classes) == 1:
        return file, output, values
    graph = deepcopy(file.graph)
    name = _turned(graph, output.name, values.ndim)
    file = file.edited(graph, f"its classes come last in '{output.name}' and are brought behind the rows, as '{name}'")
    return file, file.output(name), np.ascontiguousarray(np.moveaxis(values, -1, 1))


def _axis(output: TensorInfo, values: Array, classes: int | None) -> int:
    """1 or the last: the axis of the classes."""
    last = values.ndim - 1
    fit = [axis for axis in (1, last) if classes is None or values.shape[axis] == classes]
    if not fit:
        raise ModelFileError(
            f"its output '{output.name}' is {list(values.shape)}, neither the second nor the last of which are the "
            f"{classes} classes"
        )
    if len(fit) == 2:
        fit = [axis for axis in fit if _distributed(values, axis)] or fit
    if len(fit) == 2:
        fixed = [axis for axis in fit if len(output.shape) == values.ndim and isinstance(output.shape[axis], int)]
        fit = fixed if len(fixed) == 1 else fit
    if len(fit) == 2:
        raise ModelFileError(
            f"its output '{output.name}' is {list(values.shape)}: the classes could be its second axis or its last; "
            "name them with --classes A,B,…, or give rows of another size with --golden"
        )
    return int(fit[0])


def _distributed(values: Array, axis: int) -> bool:
    """Whether the values are distributions along the axis."""
    wide = np.asarray(values, np.float64)
    return bool((wide >= -1e-6).all() and (np.abs(wide.sum(axis=axis) - 1) <= DISTRIBUTED).all())


def _turned(model: ModelProto, output: str, dimensions: int) -> str:
    """Make the output [n, …, C] one of [n, C, …]; the name that it got. Edits `model`."""
    opset(model)
    name = fresh(model, f"{output}_classes_first")
    order = [0, dimensions - 1, *range(1, dimensions - 1)]
    model.graph.node.append(helper.make_node("Transpose", [output], [name], perm=order))
    found = next(entry for entry in model.graph.output if entry.name == output).type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else size.dim_param or None for size in found.shape.dim]
    shape = [sizes[place] for place in order] if len(sizes) == dimensions else None
    replace_output(model, output, helper.make_tensor_value_info(name, found.elem_type, shape))
    return name


def positions(outputs: Mapping[str, TensorInfo], values: Mapping[str, Array]) -> tuple[int, ...]:
    """The lengths behind the classes, -1 where none of the members fixes one. Raises BundleError where they differ."""
    shapes = {name: array.shape[2:] for name, array in values.items()}
    if len(set(shapes.values())) > 1:
        told = "; ".join(f"member '{name}' {list(shape)}" for name, shape in shapes.items())
        raise BundleError(
            "the members do not make one ensemble",
            [f"they answer for different positions: {told}; dense answers are fused where positions are the same"],
        )
    depth = len(next(iter(shapes.values())))
    stated = [entry.shape[2:] for entry in outputs.values() if len(entry.shape) == depth + 2]
    fixed = [[size for shape in stated if isinstance(size := shape[place], int) and size > 0] for place in range(depth)]
    return tuple(sizes[0] if sizes else -1 for sizes in fixed)


def rows_that_fit(values: Sequence[Array]) -> int:
    """How many golden rows of such answers are stored, at least 1."""
    sizes = [int(array[0].size) for array in values]
    return max(1, MOST_STORED // (sum(sizes) + sizes[0]))


def batch_that_fits(values: Sequence[Array]) -> int:
    """How many rows are fused at once, at least 1."""
    return max(1, MOST_AT_ONCE // sum(int(array[0].size) for array in values))
