"""Small readings and edits of an ONNX graph: who makes a tensor, what is constant, an output in place of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

ML = "ai.onnx.ml"
_DEFAULT_OPSETS = {"": 17, ML: 3}


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """Tensor → the node that makes it, of the outer graph alone."""
    return {name: node for node in graph.node for name in node.output if name}


def attributes(node: NodeProto) -> dict[str, Any]:
    """The node's attributes as Python values; strings are bytes, tensors are protobuf's."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def constant(graph: GraphProto, makers: Mapping[str, NodeProto], name: str) -> NDArray[Any] | None:
    """The value of an initializer or of a Constant node; None where `name` is neither, or lies in another file."""
    tensor = next((entry for entry in graph.initializer if entry.name == name), None)
    node = makers.get(name)
    if tensor is None and node is not None and node.op_type == "Constant":
        found = attributes(node)
        for key in ("value_strings", "value_ints", "value_floats"):
            if key in found:
                return np.asarray(found[key])
        tensor = found.get("value")
    if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
        return None
    return numpy_helper.to_array(tensor)


def upstream(makers: Mapping[str, NodeProto], name: str) -> set[str]:
    """`name` and every tensor that it is made from."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        tensor = waiting.pop()
        if tensor not in found:
            found.add(tensor)
            waiting += makers[tensor].input if tensor in makers else ()
    return found


def fresh(model: ModelProto, wanted: str) -> str:
    """`wanted`, or it with a number behind: a name that no tensor of the model has."""
    taken = set(_names(model.graph))
    return next(name for k in range(len(taken) + 1) if (name := f"{wanted}_{k}" if k else wanted) not in taken)


def opset(model: ModelProto, domain: str = "") -> int:
    """The version of the operator set that the model imports; one that it lacks is imported."""
    for entry in model.opset_import:
        if ("" if entry.domain == "ai.onnx" else entry.domain) == domain:
            return int(entry.version)
    model.opset_import.append(helper.make_opsetid(domain, _DEFAULT_OPSETS[domain]))
    return _DEFAULT_OPSETS[domain]


def add_constant(model: ModelProto, wanted: str, value: NDArray[Any]) -> str:
    """A new initializer called `wanted` or alike; its name. Before IR version 4 it would have to be an input."""
    model.ir_version = max(model.ir_version, 4)
    name = fresh(model, wanted)
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def replace_output(model: ModelProto, old: str, new: ValueInfoProto) -> None:
    """Declare the output `new` in the place of `old`, which is an output no more."""
    entry = next(entry for entry in model.graph.output if entry.name == old)
    entry.CopyFrom(new)


def matrix(name: str, columns: int | None, element: int = TensorProto.FLOAT) -> ValueInfoProto:
    """The declaration of a tensor [n, columns]."""
    return helper.make_tensor_value_info(name, element, ["n", columns])


def _names(graph: GraphProto) -> Iterator[str]:
    """Names of all tensors, those of subgraphs too: they may not hide one of the outer graph."""
    for group in (graph.input, graph.output, graph.initializer, graph.value_info):
        yield from (entry.name for entry in group)
    for node in graph.node:
        yield from node.input
        yield from node.output
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _names(inner)


def operators(graph: GraphProto) -> Iterator[str]:
    """The operator of every node, those of subgraphs too."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from operators(inner)
