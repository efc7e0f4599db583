"""Several members as one ONNX graph: shared inputs, one output per member, opsets and IR made equal.

Built at load from the unchanged member files and never stored. Members of one file that are fed alike share one copy
of its graph, and what members compute alike (`subexpressions`) is computed once. Nothing here proves that the merged
graph computes the same: whoever uses it compares it with the members.

`onnx.compose.add_prefix` is not used: it leaves references from a subgraph (`If`, `Loop`) to the outer graph's
weights without the prefix (onnx 1.23).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, version_converter

from server.runtime.plans.subexpressions import simplify
from server.runtime.sessions.external_weights import ModelError, embed, parse, relocate, tensors
from server.runtime.sessions.onnx_wire import CUT_FROM_BYTES, Buffer
from server.runtime.sessions.session import Model

ML = "ai.onnx.ml"


@dataclass(frozen=True, slots=True)
class Part:
    """A member as it enters the merge: `feeds` maps its ONNX inputs to the ensemble's."""

    name: str
    model: Model
    feeds: Mapping[str, str]
    output: str


class MergeError(Exception):
    """These members cannot be one graph; the message says which and why."""


def merge(parts: Sequence[Part]) -> Model:
    """The merged model; its outputs are the members' fused ones, in the order of `parts`.

    Its inputs are the ensemble's, under their names. Large weights that lie apart from a member stay where they are,
    under names of their own. Raises MergeError.
    """
    external: dict[str, Buffer] = {}
    groups = _groups(parts)
    firsts = [parts[places[0]] for places in groups]
    try:
        models = [_loaded(part, f"m{places[0]}", external) for part, places in zip(firsts, groups, strict=True)]
        opsets = _common_opsets(models)
        models = [_at(opsets, part.name, model) for part, model in zip(firsts, models, strict=True)]
        merged = _empty(opsets, max(model.ir_version for model in models))
        outputs: dict[int, ValueInfoProto] = {}
        for places, model in zip(groups, models, strict=True):
            prefix = f"m{places[0]}/"
            _append(merged, parts[places[0]], model, prefix)
            outputs |= _outputs(merged, model, [(place, parts[place].output) for place in places], prefix)
        merged.graph.output.extend(outputs[place] for place in range(len(parts)))
        simplify(merged, external)
        data: bytes = merged.SerializeToString()
    except (ValueError, TypeError, RuntimeError) as error:  # protobuf's and the converter's
        raise MergeError(f"cannot be merged: {' '.join(str(error).split())}") from error
    return Model(data, external)


def inlined(model: Model) -> Model:
    """The merged model with all weights in its file. Raises MergeError, also beyond protobuf's 2 GB."""
    whole = parse(bytes(model.data))
    try:
        embed(whole, model.external)
        return Model(whole.SerializeToString())
    except (ModelError, ValueError) as error:
        raise MergeError(f"cannot be one file: {error}") from error


def _groups(parts: Sequence[Part]) -> list[list[int]]:
    """The places of parts with the same model fed in the same way, in the order of each group's first."""
    groups: dict[object, list[int]] = {}
    for place, part in enumerate(parts):
        beside = tuple((name, _identity(buffer)) for name, buffer in sorted(part.model.external.items()))
        content = _identity(part.model.data), beside, tuple(sorted(part.feeds.items()))
        groups.setdefault(content, []).append(place)
    return list(groups.values())


def _identity(buffer: Buffer) -> object:
    """What tells bytes from others: large ones are not compared, they are read once for all members that share them."""
    return buffer if isinstance(buffer, bytes) else id(buffer)


def _loaded(part: Part, prefix: str, external: dict[str, Buffer]) -> ModelProto:
    """The part's model, with small external weights in it, and the buffers of large ones added to `external`."""
    try:
        model = parse(bytes(part.model.data))
        embed(model, part.model.external, CUT_FROM_BYTES)
    except ModelError as error:
        raise MergeError(f"member {part.name!r}: {error}") from error
    names = {name: f"{prefix}/{name}" for name in part.model.external}
    relocate(model, names)
    left = {entry.value for tensor in tensors(model) for entry in tensor.external_data if entry.key == "location"}
    external |= {names[name]: buffer for name, buffer in part.model.external.items() if names[name] in left}
    return model


def _opsets(model: ModelProto) -> dict[str, int]:
    """Domain → version; skl2onnx names the default domain twice, and `ai.onnx` is another name of it."""
    found: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        found[domain] = max(found.get(domain, 0), entry.version)
    return found


def _common_opsets(models: Iterable[ModelProto]) -> dict[str, int]:
    """The newest version of each domain that a member names."""
    common: dict[str, int] = {}
    for model in models:
        for domain, version in _opsets(model).items():
            common[domain] = max(common.get(domain, 0), version)
    return common


def _at(opsets: Mapping[str, int], name: str, model: ModelProto) -> ModelProto:
    """The model at the common opsets: relabelled where its operators mean the same there, else converted."""
    own = _opsets(model)
    for domain, version in own.items():
        changed = sorted(_changed(model, domain, version, opsets[domain])) if version != opsets[domain] else []
        if changed and domain != "":
            names = ", ".join(changed)
            raise MergeError(
                f"member {name!r} is at {domain} {version}, another at {opsets[domain]}, where {names} differ"
            )
        if changed:
            model = _converted(model, name, opsets[""])
    return model


def _converted(model: ModelProto, name: str, version: int) -> ModelProto:
    try:
        _set_opsets(model, _opsets(model))
        return version_converter.convert_version(model, version)
    except Exception as error:  # the converter raises RuntimeError and pybind's own types alike
        reason = " ".join(str(error).split())
        raise MergeError(f"member {name!r} cannot be converted to opset {version}: {reason}") from error


def _changed(model: ModelProto, domain: str, old: int, new: int) -> set[str]:
    """The operators of the domain that the model uses and that the newer opset defines anew.

    Those of ai.onnx.ml only ever gained attributes since version 2, so only its oldest ones count.
    """
    names = (domain,) if domain else ("", "ai.onnx")
    used = {node.op_type for node in _all_nodes(model) if node.domain in names}
    local = {function.name for function in model.functions if function.domain == domain}
    if domain == ML and old >= 2:
        return set()
    return {op for op in used - local if _since(op, domain, old) != _since(op, domain, new)}


def _since(op: str, domain: str, version: int) -> int:
    """The opset that defined the operator as it is at `version`; 0 where onnx does not know it."""
    try:
        return int(onnx.defs.get_schema(op, version, domain).since_version)
    except onnx.defs.SchemaError:
        return 0


def _empty(opsets: Mapping[str, int], ir_version: int) -> ModelProto:
    graph = helper.make_graph([], "merged", [], [])
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def _set_opsets(model: ModelProto, opsets: Mapping[str, int]) -> None:
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in opsets.items())


def _append(merged: ModelProto, part: Part, model: ModelProto, prefix: str) -> None:
    """Add the model under the prefix, wired to the shared inputs, without outputs."""
    _prefix_functions(model, prefix)
    _prefix_values(model.graph, prefix)
    graph, target = model.graph, merged.graph
    constants = {tensor.name for tensor in graph.initializer}
    known = {entry.name for entry in target.input}
    for entry in graph.input:
        if entry.name in constants:
            continue  # IR 3: a weight that callers may replace
        own = entry.name.removeprefix(prefix)
        source = part.feeds[own]
        if source not in known:
            target.input.append(_shared(entry, source))
            known.add(source)
        target.node.append(helper.make_node("Identity", [source], [entry.name], name=f"{prefix}feed/{own}"))
    target.node.extend(graph.node)
    target.initializer.extend(graph.initializer)
    target.sparse_initializer.extend(graph.sparse_initializer)
    merged.functions.extend(model.functions)


def _outputs(
    merged: ModelProto, model: ModelProto, wanted: Sequence[tuple[int, str]], prefix: str
) -> dict[int, ValueInfoProto]:
    """The output of each member by its place, of the model that was added under the prefix.

    A second member that takes the same output gets it under another name: a graph gives each name once.
    """
    declared = {entry.name: entry for entry in model.graph.output}
    found: dict[int, ValueInfoProto] = {}
    given: set[str] = set()
    for place, name in wanted:
        found[place] = own = ValueInfoProto()
        own.CopyFrom(declared[prefix + name])
        if name in given:
            own.name = f"m{place}/{name}"
            merged.graph.node.append(helper.make_node("Identity", [prefix + name], [own.name]))
        given.add(name)
    return found


def _shared(entry: ValueInfoProto, name: str) -> ValueInfoProto:
    """The input under the ensemble's name, with symbols of its own: members may call the batch differently."""
    shared = ValueInfoProto()
    shared.CopyFrom(entry)
    shared.name = name
    for place, size in enumerate(shared.type.tensor_type.shape.dim):
        if not size.HasField("dim_value"):
            size.dim_param = "n" if place == 0 else f"{name}/{place}"
    return shared


def _prefix_values(graph: GraphProto, prefix: str) -> None:
    """Prefix every value and node name of the graph and its subgraphs; "" is an input left out and stays so."""
    for node in graph.node:
        node.name = node.name and prefix + node.name  # "" may be shared, other names may not
        node.input[:] = [name and prefix + name for name in node.input]
        node.output[:] = [name and prefix + name for name in node.output]
        for subgraph in _subgraphs(node):
            _prefix_values(subgraph, prefix)
    for entry in (*graph.input, *graph.output, *graph.initializer):
        entry.name = prefix + entry.name
    for sparse in graph.sparse_initializer:
        sparse.values.name = prefix + sparse.values.name
    del graph.value_info[:]  # inferred again; symbols of two members with one name would clash


def _prefix_functions(model: ModelProto, prefix: str) -> None:
    local = {(function.domain, function.name) for function in model.functions}
    for node in _all_nodes(model):
        if (node.domain, node.op_type) in local:
            node.op_type = prefix + node.op_type
    for function in model.functions:
        function.name = prefix + function.name


def _all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    yield from _nodes(model.graph.node)
    for function in model.functions:
        yield from _nodes(function.node)


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for subgraph in _subgraphs(node):
            yield from _nodes(subgraph.node)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
