"""Rows that tracing froze into shapes, made dynamic again.

`torch.func.vmap` merges and splits dimensions by their sizes, which ONNX then has as constants (torch 2.13). Such a
module is traced with a number of rows that nothing else has; a reshape to that many, or to a multiple of it, is one to
"what is left". What this misses, the parity sweep over batch sizes finds.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, numpy_helper

from exporter.errors import ConversionError

MARKED_ROWS = 1009
"""A prime above the widths of layers, so that no product of sizes is a multiple of it by chance."""


def thaw(model: ModelProto, rows: int = MARKED_ROWS) -> None:
    """Make each multiple of `rows` in the shapes of reshapes "what is left". Raises ConversionError where two are."""
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for tensor in model.graph.initializer:
        if tensor.name not in shapes:
            continue
        shape = numpy_helper.to_array(tensor)
        frozen = (shape > 0) & (shape % rows == 0)
        if not frozen.any():
            continue
        if frozen.sum() + (shape == -1).sum() > 1:
            raise ConversionError(f"reshapes to {shape.tolist()}, of which more than one size hangs on the rows")
        thawed = np.where(frozen, -1, shape)
        tensor.CopyFrom(numpy_helper.from_array(thawed, tensor.name))
