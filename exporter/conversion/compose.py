"""Features made by one graph and answered by another: both as one ONNX graph of several inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import onnx
from onnx import GraphProto, ModelProto

from exporter.conversion.graph import normalised
from exporter.conversion.tree_graph import PROBABILITIES, VALUE, tree_graph
from exporter.errors import ConversionError
from model_repo import Input
from model_repo.format.manifest import Kind

if TYPE_CHECKING:
    from torch import nn

FEATURES = "front/answer"
"""No input may be called that: names of inputs have no slash."""
_BACK = "answer/"
_SECOND = "second/"


def features_then_trees(
    features: nn.Module, trees: Any, inputs: Sequence[Input], width: int, kind: Kind, columns: int
) -> bytes:
    """A torch module and a fitted tree estimator as one normalised graph whose output [n, C] is named `kind`.

    `features` maps the tensors of `inputs`, in that order, to float32 [n, width]; `trees` was fitted on just those
    (in float32: see `float32_thresholds`). `kind` is "probabilities" of a classifier or "value" of a regressor
    (C = 1). Any estimator that skl2onnx converts will do in place of trees. Raises ConversionError.
    """
    from exporter.conversion.torch_graph import to_onnx

    front = onnx.load_from_string(to_onnx(features.eval(), inputs, "value", width))
    return composed(front, tree_graph(trees, width), inputs, kind, columns)


def composed(front: ModelProto, back: ModelProto, inputs: Sequence[Input], kind: Kind, columns: int) -> bytes:
    """`front`, whose only output [n, width] feeds `back`'s only input, as one normalised graph.

    The front may come from torch or be written by hand; its inputs are `inputs` by name. The back is a graph of
    `tree_graph`'s kind: its answer is its output `probabilities` or `variable`. Both stay as they are.
    Raises ConversionError where they do not fit.
    """
    front, back = _copy(front), _copy(back)
    answer = PROBABILITIES if kind == "probabilities" else VALUE
    if answer not in (found := [entry.name for entry in back.graph.output]):
        raise ConversionError(f"a member of kind {kind!r} needs an output {answer!r}, its graph has {found}")
    (joint,), (entry,) = front.graph.output, back.graph.input
    if (given := _width(joint)) and (taken := _width(entry)) and given != taken:
        raise ConversionError(f"the features are [n, {given}], the trees were fitted on [n, {taken}]")
    flat = entry.name
    _rename(front.graph, joint.name, FEATURES)
    onnx.compose.add_prefix(back, _BACK, inplace=True)
    _rename(back.graph, _BACK + flat, FEATURES)
    _rename(back.graph, _BACK + answer, kind)
    del front.graph.output[:]
    front.graph.node.extend(back.graph.node)
    front.graph.initializer.extend(back.graph.initializer)
    front.graph.output.extend(output for output in back.graph.output if output.name == kind)
    known = {"" if entry.domain == "ai.onnx" else entry.domain for entry in front.opset_import}
    front.opset_import.extend(entry for entry in back.opset_import if entry.domain not in known)
    return normalised(front, inputs, kind, columns)


def summed(first: bytes, second: bytes, inputs: Sequence[Input]) -> bytes:
    """Two normalised graphs with an output `value` [n, 1] as one whose `value` is the sum: trees on differences.

    `inputs` are those of both together. Raises ConversionError.
    """
    whole, other = onnx.load_from_string(first), onnx.load_from_string(second)
    onnx.compose.add_prefix(other, _SECOND, rename_inputs=False, inplace=True)
    _rename(whole.graph, "value", "first")
    whole.graph.node.extend(other.graph.node)
    whole.graph.initializer.extend(other.graph.initializer)
    whole.graph.node.append(onnx.helper.make_node("Add", ["first", f"{_SECOND}value"], ["value"]))
    known = {entry.name for entry in whole.graph.input}
    whole.graph.input.extend(entry for entry in other.graph.input if entry.name not in known)
    (output,) = whole.graph.output
    output.name = "value"
    domains = {entry.domain for entry in whole.opset_import}
    whole.opset_import.extend(entry for entry in other.opset_import if entry.domain not in domains)
    return normalised(whole, inputs, "value", 1)


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _width(entry: onnx.ValueInfoProto) -> int:
    """Of [n, width]; 0 where the graph does not say."""
    dims = entry.type.tensor_type.shape.dim
    return dims[1].dim_value if len(dims) == 2 else 0


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """One tensor, wherever it is made, used or declared; subgraphs do not see it."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for entry in [*graph.input, *graph.output, *graph.value_info]:
        if entry.name == old:
            entry.name = new
