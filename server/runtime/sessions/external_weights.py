"""External weights of ONNX files: which files a model names, and how they become part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from server.runtime.sessions.onnx_wire import SPLIT_FROM_BYTES, Buffer, WireError, bare

_KEY = b"location"
"""Every tensor with external data has this key; a small model without these bytes has none and is not parsed here."""


class ModelError(Exception):
    """An ONNX file cannot be read or taken apart; one line without the member's name."""


def parse(data: bytes) -> ModelProto:
    """The model in these bytes. Raises ModelError."""
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as error:
        raise ModelError("is no ONNX file: its protobuf cannot be read") from error
    return model


def locations(data: Buffer) -> set[str]:
    """The external files that the model's tensors name, as they name them. Raises ModelError.

    Weights are not looked at: of a large model only the rest is parsed.
    """
    if len(data) >= SPLIT_FROM_BYTES:
        data = _bare(data)
    elif _KEY not in data:
        return set()
    found = (tensor for tensor in tensors(parse(bytes(data))) if is_external(tensor))
    return {name for tensor in found for name in _locations_of(tensor)}


def embed(model: ModelProto, external: Mapping[str, Buffer], most_bytes: int | None = None) -> None:
    """Put the content of external files into the model's tensors; with `most_bytes` that of small tensors only.

    Raises ModelError where a file does not hold what a tensor names.
    """
    for tensor in tensors(model):
        if not is_external(tensor):
            continue
        content = content_of(tensor, external)
        if most_bytes is not None and len(content) > most_bytes:
            continue
        tensor.raw_data = bytes(content)
        tensor.ClearField("external_data")
        tensor.data_location = TensorProto.DEFAULT


def relocate(model: ModelProto, names: Mapping[str, str]) -> None:
    """Let tensors name their external files by other names."""
    for tensor in tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = names.get(entry.value, entry.value)


def _locations_of(tensor: TensorProto) -> list[str]:
    """All that it says: which of two onnxruntime would take is not ours to guess. "" where it says none."""
    return [entry.value for entry in tensor.external_data if entry.key == "location"] or [""]


def _bare(data: Buffer) -> bytes:
    try:
        return bare(data)
    except WireError as error:
        raise ModelError(f"is no ONNX file: its protobuf cannot be read ({error})") from error


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


def is_external(tensor: TensorProto) -> bool:
    """Whether the tensor's content is in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def _entry(tensor: TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def content_of(tensor: TensorProto, external: Mapping[str, Buffer]) -> Buffer:
    """The bytes that an external tensor names. Raises ModelError."""
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
