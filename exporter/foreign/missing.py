"""Whether numbers may be missing: whether every member that takes an input says what becomes of NaN, and survives it.

That a member gives a number for NaN is not enough: a comparison with it is false, and an answer to nothing looks as any
other. So its graph must ask for NaN (IsNaN), fill it (an Imputer), or have a way for it in its trees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from onnx import GraphProto, ModelProto, NodeProto

from exporter.errors import BundleError
from exporter.foreign.answers import Given
from exporter.foreign.model_file import ModelFileError
from exporter.onnx_graphs.edits import attributes
from model_repo import Input
from server.runtime.datatypes import Array

Missing = Literal["nan", "refuse"]

MOST_RUNS = 64
_TRACKS = "nodes_missing_value_tracks_true"
"""The attribute of trees, in every version of the operators, that sends NaN down the branch of those that pass."""


def declared(
    inputs: Sequence[Input], members: Sequence[Given], feeds: Mapping[str, Array], wish: Missing | None
) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    """The inputs, of which those that may lack numbers say so, and a sentence for each that was found out.

    `wish` says it for all inputs of floats. Raises BundleError where it is "nan" and a member gives no number for NaN.
    """
    found: list[Input] = []
    notes: list[str] = []
    wrong: list[str] = []
    for entry in inputs:
        takers = [one for one in members if any(one.file.source(each.name) == entry.name for each in one.file.inputs)]
        known = wish == "nan" or (bool(takers) and all(has_a_way(one.file.graph) for one in takers))
        if wish == "refuse" or not entry.datatype.startswith("FP") or not known:
            found.append(entry)  # nothing is run for it: every column in turn is long for a picture
            continue
        failed = [one.file.name for one in takers if not _survives(one, entry.name, feeds)]
        if wish == "nan":
            wrong += [f"member '{name}' gives no finite answer where '{entry.name}' has NaN" for name in failed]
        elif failed:
            found.append(entry)
            continue
        else:
            notes.append(
                f"input '{entry.name}': numbers may be missing, as null or NaN in JSON; every member has a way"
            )
        found.append(msgspec.structs.replace(entry, missing="nan"))
    if wrong:
        raise BundleError("--missing nan", wrong)
    return tuple(found), tuple(notes)


def has_a_way(model: ModelProto) -> bool:
    """Whether the model says anywhere what becomes of NaN."""
    functions = [node for function in model.functions for node in function.node]
    return any(map(_is_a_way, (*_nodes(model.graph), *functions)))


def _is_a_way(node: NodeProto) -> bool:
    if node.op_type == "IsNaN":
        return True
    found = attributes(node)
    if node.op_type == "Imputer":
        return bool(np.isnan(found.get("replaced_value_float", 0.0)))
    return node.op_type.startswith("TreeEnsemble") and any(found.get(_TRACKS, ()))


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Every node, those of branches and loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            inner: Iterable[GraphProto] = (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)
            for each in inner:
                yield from _nodes(each)


def _survives(member: Given, name: str, feeds: Mapping[str, Array]) -> bool:
    """Whether the member's answers are finite where each row lacks one number, each column in turn."""
    try:
        return all(
            bool(np.isfinite(np.asarray(member.file.run(member.output.name, {**feeds, name: each}), np.float64)).all())
            for each in _with_gaps(feeds[name])
        )
    except ModelFileError:
        return False


def _with_gaps(array: Array) -> Iterator[Array]:
    """The rows with a NaN in each, so often that every column has one, but for the last of very many."""
    rows = np.arange(len(array))
    columns = array[0].size
    for first in range(0, min(columns, MOST_RUNS * len(rows)), len(rows)):
        holed = np.array(array)
        holed.reshape(len(rows), -1)[rows, (rows + first) % columns] = np.nan
        yield holed
