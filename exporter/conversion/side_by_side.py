"""Graphs of one flat input each as one graph whose answer has a column of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from exporter.conversion.tree_graph import FLAT
from exporter.errors import ConversionError

_COLUMN = "side_by_side_column"


def side_by_side(parts: Sequence[ModelProto], answers: Sequence[str], output: str, column: int) -> ModelProto:
    """`flat` [n, features] → `output` [n, parts]: of each part column `column` of its output `answers[k]`, [n, …].

    The parts have one input each, of the same width, and are changed. Raises ConversionError where they are of
    different operator sets.
    """
    whole: ModelProto | None = None
    columns = []
    for place, (part, answer) in enumerate(zip(parts, answers, strict=True)):
        prefix = f"part{place}/"
        _fed_by_flat(part)
        onnx.compose.add_prefix(part, prefix, rename_inputs=False, inplace=True)
        node = helper.make_node("Gather", [prefix + answer, _COLUMN], [f"{prefix}column"], axis=1)
        part.graph.node.append(node)
        columns.append(node.output[0])
        if whole is None:
            whole = part
            continue
        if _opsets(part) != _opsets(whole):
            raise ConversionError(f"the parts are of different operator sets: {_opsets(whole)} and {_opsets(part)}")
        whole.graph.node.extend(part.graph.node)
        whole.graph.initializer.extend(part.graph.initializer)
    if whole is None:
        raise ConversionError("there is no part to put beside another")
    whole.graph.initializer.append(numpy_helper.from_array(np.array([column], dtype=np.int64), _COLUMN))
    whole.graph.node.append(helper.make_node("Concat", columns, [output], axis=1))
    del whole.graph.output[:]
    shape: list[str | int | None] = ["n", len(columns)]
    whole.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
    return whole


def _fed_by_flat(part: ModelProto) -> None:
    """The part, in place, with its only input under the common name."""
    (entry,) = part.graph.input
    old, entry.name = entry.name, FLAT
    for node in part.graph.node:
        node.input[:] = [FLAT if name == old else name for name in node.input]


def _opsets(model: ModelProto) -> dict[str, int]:
    return {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
