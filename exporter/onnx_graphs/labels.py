"""The names of an output's columns, where the graph or its metadata states them.

Converters write class names beside the probabilities: in a ZipMap, in the classifier's own node, in the table that
turns an index into a label, in `metadata_props`. The label that a graph answers is read before the nodes further up,
as stacked and voting classifiers hold others inside whose names are not those of the answer.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from exporter.onnx_graphs.edits import ML, attributes, constant, producers, upstream

CLASSIFIERS = ("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier")
"""Nodes of `ai.onnx.ml` that give a label, scores, and name their classes."""
LABEL_ELEMENTS = (TensorProto.STRING, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
"""What a label may be."""
METADATA = frozenset(
    ("classes", "class_names", "classnames", "class_labels", "labels", "label_names", "names", "target_names",
     "id2label", "label2id", "idx_to_class", "class_to_idx", "categories", "vocab")
)  # fmt: skip
"""Keys of `metadata_props` under which exporters write class names, in lower case."""

_SAME_ROWS = frozenset(("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"))
_SAME_COLUMNS = _SAME_ROWS | {"Normalizer", "LpNormalization", "Softmax", "LogSoftmax", "Sigmoid", "Clip", "Div"}
_PLACES = frozenset(("ArgMax", "TopK", "Greater", "GreaterOrEqual"))

Label = str | int


@dataclass(frozen=True)
class Stated:
    """Names in the order of the columns, and which node or note says so."""

    names: tuple[str, ...]
    where: str

    @property
    def places(self) -> bool:
        """Whether they are 0, 1, … C-1 in some order: the places of classes rather than names."""
        return sorted(self.names) == sorted(map(str, range(len(self.names))))


@dataclass(frozen=True)
class _Labels:
    """Labels of a tensor by column; `values` is None for the place itself. `scores`: what it is the largest of."""

    values: tuple[Label, ...] | None
    scores: str
    where: str


def stated(model: ModelProto, output: str) -> Iterator[Stated]:
    """What the model states about the columns of `output`, the most telling first; nothing where it is silent.

    How many columns there are, the caller knows: a statement of another length is about something else.
    """
    graph = model.graph
    makers = producers(graph)
    above = upstream(makers, output)
    for entry in graph.output:
        if entry.type.tensor_type.elem_type not in LABEL_ELEMENTS:
            continue
        labels = _labels(graph, makers, entry.name)
        if labels is None or labels.values is None:
            continue
        if entry.name == output or labels.scores in above or output in upstream(makers, labels.scores):
            yield Stated(_texts(labels.values), f"{labels.where} of its output '{entry.name}'")
    node = _classifier(makers, output)
    if node is not None:
        yield Stated(_texts(_class_labels(node)), node.op_type)
    for owner in (model, graph):
        for note in owner.metadata_props:
            if note.key.lower() in METADATA and (names := listed(note.value)):
                yield Stated(names, f"its metadata '{note.key}'")


def listed(text: str) -> tuple[str, ...] | None:
    """Names from a list or an index → name table in JSON or as Python prints it, or one a line, or with commas."""
    value: Any = None
    for reader in (json.loads, ast.literal_eval):
        try:
            value = reader(text)
            break
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    if isinstance(value, dict):
        return _of_table(value)
    if isinstance(value, list | tuple):
        return _texts(value) if all(isinstance(each, str | int) for each in value) else None
    if isinstance(value, str):
        text = value
    words = text.splitlines() if "\n" in text.strip() else text.split(",")
    names = tuple(word.strip() for word in words if word.strip())
    return names if len(names) > 1 else None


def _of_table(table: Mapping[Any, Any]) -> tuple[str, ...] | None:
    """Names by ascending index, whichever side the index is on: {"0": "cat"} or {"cat": 0}."""
    if all(isinstance(value, int) for value in table.values()):
        table = {value: name for name, value in table.items()}
    try:
        names = {int(place): name for place, name in table.items()}
    except (TypeError, ValueError):
        return None
    whole = sorted(names) == list(range(len(names))) and all(isinstance(name, str) for name in names.values())
    return tuple(names[place] for place in range(len(names))) if whole else None


def zipped(node: NodeProto) -> tuple[str, ...]:
    """The class names of a ZipMap."""
    found = attributes(node)
    return _texts(found.get("classlabels_strings") or found.get("classlabels_int64s") or ())


def _labels(graph: GraphProto, makers: Mapping[str, NodeProto], name: str) -> _Labels | None:
    """The labels that a tensor [n] may hold, by column of the scores that they are chosen from."""
    node = makers.get(name)
    if node is None:
        return None
    kind = node.op_type
    if kind in CLASSIFIERS and name == node.output[0]:
        return _Labels(tuple(_class_labels(node)), node.output[1], kind)
    if kind in _SAME_ROWS:
        inner = _labels(graph, makers, node.input[0])
        return _cast(node, inner) if inner is not None and kind == "Cast" else inner
    if kind in _PLACES:
        return _Labels(None, node.input[0], kind)
    if kind == "LabelEncoder":
        inner = _labels(graph, makers, node.input[0]) or _Labels(None, node.input[0], kind)
        return _encoded(node, inner)
    if kind in ("ArrayFeatureExtractor", "Gather"):
        return _gathered(graph, makers, node)
    return None


def _gathered(graph: GraphProto, makers: Mapping[str, NodeProto], node: NodeProto) -> _Labels | None:
    """Labels looked up in a constant table by place."""
    table = constant(graph, makers, node.input[0])
    place = _labels(graph, makers, node.input[1])
    if table is None or table.dtype.kind == "f" or (place is None and table.dtype.kind in "iu"):
        return None  # numbers looked up by who knows what need not be labels
    values = [_label(value) for value in table.ravel().tolist()]
    if place is None or place.values is None:
        scores = node.input[1] if place is None else place.scores
        return _Labels(tuple(values), scores, f"the table '{node.input[0]}'")
    if not all(isinstance(each, int) and 0 <= each < len(values) for each in place.values):
        return None
    return _Labels(tuple(values[int(each)] for each in place.values), place.scores, f"the table '{node.input[0]}'")


def _encoded(node: NodeProto, inner: _Labels) -> _Labels | None:
    """What a LabelEncoder makes of the labels; of places 0 … C-1, where its keys are those."""
    found = attributes(node)
    if "classes_strings" in found:  # the operator's first version
        table: dict[Label, Label] = dict(enumerate(map(_label, found["classes_strings"])))
    else:
        table = dict(zip(_side(found, "keys"), _side(found, "values"), strict=False))
    keys: Sequence[Label] = tuple(range(len(table))) if inner.values is None else inner.values
    if not table or not all(key in table for key in keys):
        return None
    return _Labels(tuple(table[key] for key in keys), inner.scores, "the LabelEncoder")


def _side(found: Mapping[str, Any], side: str) -> list[Label]:
    """Keys or values of a LabelEncoder, whichever attribute holds them."""
    tensor = found.get(f"{side}_tensor")
    values = numpy_helper.to_array(tensor).ravel().tolist() if tensor is not None else ()
    for kind in ("strings", "int64s", "floats"):
        values = values or found.get(f"{side}_{kind}", ())
    return [_label(value) for value in values]


def _cast(node: NodeProto, inner: _Labels) -> _Labels:
    """Labels as another type: numbers become texts and texts numbers where they are some."""
    if inner.values is None:
        return inner
    if attributes(node).get("to") == TensorProto.STRING:
        return _Labels(_texts(inner.values), inner.scores, inner.where)
    try:
        return _Labels(tuple(int(each) for each in inner.values), inner.scores, inner.where)
    except ValueError:
        return inner


def _classifier(makers: Mapping[str, NodeProto], output: str) -> NodeProto | None:
    """The classifier whose scores come to `output` column by column."""
    node = makers.get(output)
    while node is not None and node.op_type in _SAME_COLUMNS and node.input:
        output = node.input[0]
        node = makers.get(output)
    named = node is not None and node.op_type in CLASSIFIERS and len(node.output) > 1 and node.output[1] == output
    return node if named and node is not None and _class_labels(node) else None


def _class_labels(node: NodeProto) -> list[Label]:
    if node.domain != ML:
        return []
    found = attributes(node)
    for key in ("classlabels_strings", "classlabels_int64s", "classlabels_ints"):
        if found.get(key):
            return [_label(value) for value in found[key]]
    return []


def _label(value: Any) -> Label:
    """A label as Python has it: text, or a whole number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    return int(value) if float(value).is_integer() else str(value)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(_label(value)) for value in values)
