"""What a merged graph computes more than once, and what nobody asks for: both taken out.

Two nodes are one where operator, attributes and inputs are the same, inputs that are constants by value. So the
equal preprocessing of several members runs once, and so does a trunk with equal weights in two files. Only the
outermost graph is looked at; a node with a subgraph (`If`, `Loop`) or of a local function stays, and so does what is
random. Nothing is computed here and no value changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from server.runtime.sessions.external_weights import content_of, is_external
from server.runtime.sessions.onnx_wire import Buffer

RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial",
                    "Bernoulli", "Dropout"})  # fmt: skip


def simplify(model: ModelProto, external: Mapping[str, Buffer] | None = None) -> None:
    """Take out the nodes and constants of the outermost graph that are there twice or that no output needs.

    `external`: the files that its tensors may name. Raises ModelError where one is not there.
    """
    graph = model.graph
    fixed = {entry.name for entry in graph.output} | _outer_names(graph)
    same = _constants(graph, fixed, external or {})
    _replace(graph.node, same)
    local = {(function.domain, function.name) for function in model.functions}
    _nodes(graph, fixed, local)
    _prune(graph)


def _constants(graph: GraphProto, fixed: set[str], external: Mapping[str, Buffer]) -> dict[str, str]:
    """Name → the first constant of equal type, shape and content; those others are taken out."""
    first: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    kept: list[TensorProto] = []
    for tensor in graph.initializer:
        known = first.setdefault(_content(tensor, external), tensor.name)
        if known == tensor.name or tensor.name in fixed:
            kept.append(tensor)
        else:
            same[tensor.name] = known
    if same:
        del graph.initializer[:]
        graph.initializer.extend(kept)
    return same


def _nodes(graph: GraphProto, fixed: set[str], local: set[tuple[str, str]]) -> None:
    """Take out each node that an earlier one equals, in the order in which the graph runs them."""
    first: dict[tuple[object, ...], NodeProto] = {}
    same: dict[str, str] = {}
    kept: list[NodeProto] = []
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        if (node.domain, node.op_type) in local or node.op_type in RANDOM or any(_subgraphs(node)):
            kept.append(node)
            continue
        other = first.setdefault(_meaning(node), node)
        replaceable = len(other.output) == len(node.output) and all(
            bool(mine) <= bool(theirs) for mine, theirs in zip(node.output, other.output, strict=True)
        )
        if other is node or not replaceable or not fixed.isdisjoint(node.output):
            kept.append(node)
        else:
            same.update((mine, theirs) for mine, theirs in zip(node.output, other.output, strict=True) if mine)
    _set_nodes(graph, kept)


def _meaning(node: NodeProto) -> tuple[object, ...]:
    """What makes two nodes compute the same; names and comments do not."""
    attributes = sorted((attribute.name, _attribute(attribute)) for attribute in node.attribute)
    return node.domain, node.op_type, tuple(node.input), tuple(attributes)


def _attribute(attribute: AttributeProto) -> bytes:
    plain = AttributeProto()
    plain.CopyFrom(attribute)
    plain.doc_string = ""
    for tensor in (*([plain.t] if plain.HasField("t") else []), *plain.tensors):
        tensor.name = tensor.doc_string = ""
    data: bytes = plain.SerializeToString(deterministic=True)
    return data


def _content(tensor: TensorProto, external: Mapping[str, Buffer]) -> tuple[object, ...]:
    """Type, shape and the digest of the content, by whichever field or file holds it."""
    if is_external(tensor):
        return tensor.data_type, tuple(tensor.dims), hashlib.sha256(content_of(tensor, external)).digest()
    if tensor.HasField("raw_data"):
        return tensor.data_type, tuple(tensor.dims), hashlib.sha256(tensor.raw_data).digest()
    plain = TensorProto()
    plain.CopyFrom(tensor)
    plain.name = plain.doc_string = ""
    digest = hashlib.sha256(plain.SerializeToString(deterministic=True)).digest()
    return tensor.data_type, tuple(tensor.dims), None, digest


def _prune(graph: GraphProto) -> None:
    """Take out nodes and constants that no output needs, last ones first."""
    needed = {entry.name for entry in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            continue
        kept.append(node)
        needed.update(node.input)
        for subgraph in _subgraphs(node):
            needed |= _read_names(subgraph)
    _set_nodes(graph, list(reversed(kept)))
    used = [tensor for tensor in graph.initializer if tensor.name in needed]
    if len(used) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(used)


def _replace(nodes: Iterable[NodeProto], same: Mapping[str, str]) -> None:
    for node in nodes:
        node.input[:] = [same.get(name, name) for name in node.input]


def _set_nodes(graph: GraphProto, kept: Sequence[NodeProto]) -> None:
    if len(kept) < len(graph.node):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)


def _outer_names(graph: GraphProto) -> set[str]:
    """What subgraphs read by name, some of it perhaps their own: those names must not change."""
    return {name for node in graph.node for subgraph in _subgraphs(node) for name in _read_names(subgraph)}


def _read_names(graph: GraphProto) -> set[str]:
    names = {entry.name for entry in graph.output}
    for node in graph.node:
        names.update(node.input)
        for subgraph in _subgraphs(node):
            names |= _read_names(subgraph)
    return names


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
