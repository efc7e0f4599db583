"""A member that answers with a label alone votes: its label as a row [n, C] with a one in the label's column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from exporter.onnx_graphs.edits import ML, add_constant, fresh, matrix, opset, replace_output
from server.runtime.datatypes import TensorInfo

LABEL_TYPES = frozenset(f"tensor({kind})" for kind in ("string", "int64", "int32", "bool"))
"""What onnxruntime reports for outputs that may be labels."""


def one_hot(model: ModelProto, label: TensorInfo, names: Sequence[str]) -> str:
    """Put the output `votes` float32 [n, C] in the place of the label's; the name that it got. Edits `model`.

    Column c is 1 where the label is `names[c]`; for a label of numbers those are whole numbers. A label that is none
    of them makes a row of zeros, which a server takes for no answer of this member.
    """
    graph = model.graph
    graph.node.append(
        helper.make_node("Reshape", [label.name, add_constant(model, "vote_shape", _COLUMN)], [_new(model, "vote")])
    )
    place = graph.node[-1].output[0]
    if label.type == "tensor(string)":
        classes = np.arange(len(names), dtype=np.int64)
        graph.node.append(_encoder(model, place, names))
    else:
        classes = np.array([int(name) for name in names], dtype=np.int64)
        graph.node.append(helper.make_node("Cast", [place], [_new(model, "vote_number")], to=TensorProto.INT64))
    place = graph.node[-1].output[0]
    table = add_constant(model, "vote_classes", classes[None])
    graph.node.append(helper.make_node("Equal", [place, table], [_new(model, "voted")]))
    votes = _new(model, "votes")
    graph.node.append(helper.make_node("Cast", [graph.node[-1].output[0]], [votes], to=TensorProto.FLOAT))
    replace_output(model, label.name, matrix(votes, len(names)))
    return votes


_COLUMN = np.array([-1, 1], np.int64)


def _new(model: ModelProto, wanted: str) -> str:
    opset(model)
    return fresh(model, wanted)


def _encoder(model: ModelProto, label: str, names: Sequence[str]) -> NodeProto:
    """Text → place, -1 for one that is none of the names, in the form of the operator set that the model imports."""
    form: dict[str, Any] = (
        {"classes_strings": list(names)}
        if opset(model, ML) == 1
        else {"keys_strings": list(names), "values_int64s": list(range(len(names)))}
    )
    return helper.make_node("LabelEncoder", [label], [_new(model, "vote_place")], domain=ML, default_int64=-1, **form)
