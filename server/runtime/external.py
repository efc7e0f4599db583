"""External weights of ONNX files: which files a model names, and how they become part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_KEY = b"location"
"""Every tensor with external data has this key; a model without these bytes has none and is not parsed here."""


class ModelError(Exception):
    """An ONNX file cannot be read or taken apart; one line without the member's name."""


def parse(data: bytes) -> ModelProto:
    """The model in these bytes. Raises ModelError."""
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as error:
        raise ModelError("is no ONNX file: its protobuf cannot be read") from error
    return model


def locations(data: bytes) -> set[str]:
    """The external files that the model's tensors name, as they name them. Raises ModelError."""
    if _KEY not in data:
        return set()
    return {_entry(tensor, "location") for tensor in tensors(parse(data)) if _is_external(tensor)}


def embed(model: ModelProto, external: Mapping[str, bytes]) -> None:
    """Put the content of external files into the model's tensors. Raises ModelError where one does not hold it."""
    for tensor in tensors(model):
        if _is_external(tensor):
            tensor.raw_data = _content(tensor, external)
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the model that can hold data: weights and attributes, in subgraphs and functions too."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: list[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield sparse.values
                yield sparse.indices
            for graph in (attribute.g, *attribute.graphs):
                yield from _of_graph(graph)


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def _entry(tensor: TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def _content(tensor: TensorProto, external: Mapping[str, bytes]) -> bytes:
    location = _entry(tensor, "location")
    try:
        start = int(_entry(tensor, "offset") or 0)
        whole = external[location]
        length = int(_entry(tensor, "length") or len(whole) - start)
    except (KeyError, ValueError) as error:
        raise ModelError(f"tensor {tensor.name!r} names no readable part of {location!r}") from error
    if start < 0 or length < 0 or start + length > len(whole):
        raise ModelError(f"tensor {tensor.name!r} lies outside {location!r}, which has {len(whole)} bytes")
    return whole[start : start + length]
