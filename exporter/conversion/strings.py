"""Strings in front of a graph: words become indices inside it, so that clients send what the data says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from exporter.conversion.graph import ML_OPSET
from exporter.data.dataset import Array
from exporter.errors import ConversionError

_ML = "ai.onnx.ml"


class Vocabulary:
    """Distinct words and their places. A word that is not among them has the place `len(words)`."""

    def __init__(self, words: Sequence[str]) -> None:
        """Raises ConversionError where a word stands twice."""
        self.words = tuple(words)
        self._places = {word: place for place, word in enumerate(self.words)}
        if len(self._places) < len(self.words):
            raise ConversionError("a vocabulary has a word more than once")

    def __len__(self) -> int:
        return len(self.words)

    def __call__(self, strings: Array) -> NDArray[np.int64]:
        """The places of object strings [n, …], int64 of the same shape; as the graph's LabelEncoder gives them."""
        unknown, places = len(self.words), self._places
        found = [places.get(word, unknown) for word in strings.ravel().tolist()]
        return np.array(found, dtype=np.int64).reshape(strings.shape)


def strings_first(data: bytes, vocabularies: Mapping[str, Vocabulary]) -> bytes:
    """The graph with its INT64 inputs named here taking strings instead: a LabelEncoder each, of the same shape.

    Of operator set ai.onnx.ml 1, where the trees' converters are: members at one operator set can be merged.
    Raises ConversionError where the graph has no such input.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    inputs = {entry.name: entry for entry in graph.input}
    for name, vocabulary in vocabularies.items():
        entry = inputs.get(name)
        if entry is None or entry.type.tensor_type.elem_type != TensorProto.INT64:
            raise ConversionError(f"the graph has no INT64 input {name!r}, its inputs are {', '.join(inputs)}")
        places = f"{name}/places"
        for node in graph.node:
            node.input[:] = [places if used == name else used for used in node.input]
        entry.type.tensor_type.elem_type = TensorProto.STRING
        encoder = helper.make_node(
            "LabelEncoder",
            [name],
            [places],
            domain=_ML,
            classes_strings=[word.encode() for word in vocabulary.words],
            default_int64=len(vocabulary),
        )
        graph.node.insert(0, encoder)
    if vocabularies and _ML not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_ML, ML_OPSET))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
