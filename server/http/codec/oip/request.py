"""Open Inference Protocol requests: JSON, and JSON followed by raw tensors, to checked arrays."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from server.errors import InvalidTensor, MalformedRequest
from server.http.codec import templates
from server.http.codec.declared import InputTensor, WantedOutput
from server.http.codec.errors import shown
from server.http.codec.json_arrays import array_of, decode
from server.http.codec.lenient_json import MARK
from server.http.codec.limits import MAX_TENSORS, MAX_TIMEOUT_S, Limits
from server.http.codec.oip.raw_request import decode_raw
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature, in_order
from server.http.codec.tensors import Array, check_shape, cut, datatype, from_bytes

Parameters = dict[str, Any]

SHARED_MEMORY = "shared_memory_region"


class TensorHead(Struct):
    """One entry of `inputs`; `data` stays raw until its datatype is known."""

    name: str
    shape: list[int]
    datatype: str
    data: Raw | UnsetType = UNSET
    parameters: Parameters | None = None


class OutputHead(Struct):
    """One entry of `outputs`."""

    name: str
    parameters: Parameters | None = None


class InferHead(Struct):
    """The request's JSON. Unknown fields are passed over, as the protocol's extensions need; null is as if absent."""

    inputs: list[TensorHead]
    id: str | None = ""
    parameters: Parameters | None = None
    outputs: list[OutputHead] | None = None


_decoder = msgspec.json.Decoder(InferHead)


def decode_request(body: bytes, header_length: int | None, signature: Signature, limits: Limits) -> InferRequest:
    """The request in `body`, checked against the ensemble's inputs.

    `header_length` is the length of the JSON part, None where the body is all JSON, 0 where it is all tensor. Raises
    MalformedRequest, InvalidTensor or TooLarge, each with the field's path. What it was like but for its numbers is
    remembered (`templates`). Any thread.
    """
    if header_length == 0:
        return decode_raw(body, signature, limits)
    json, raw = _parts(body, header_length)
    head: InferHead = decode(_decoder, json, "")
    _check_counts(head)
    parameters = head.parameters or {}
    feeds = in_order(_tensors(head.inputs, raw, signature, limits), signature)
    binary = _flag(parameters, "binary_data_output", "parameters", default=False)
    if head.outputs:
        wanted = _wanted(head.outputs, binary, signature)
        outputs = signature.selection(tuple([output.tensor.name for output in wanted]))
    else:
        wanted, outputs = signature.default_wanted[binary], signature.default_outputs
    rows = next(iter(feeds.values())).shape[0]
    if head.id and MARK in head.id:
        raise MalformedRequest("id: NaN or Infinity given, expected text")
    request = InferRequest(feeds, rows, outputs, wanted, head.id or "", _timeout(parameters))
    if len(head.inputs) == 1:
        data = head.inputs[0].data
        if header_length is None and not isinstance(data, UnsetType):
            templates.remember(body, bytes(data), request, signature)
        elif header_length is not None and isinstance(data, UnsetType):
            templates.remember_binary(body[:header_length], request, signature)
    return request


def _tensors(heads: list[TensorHead], raw: memoryview, signature: Signature, limits: Limits) -> dict[str, Array]:
    """The arrays by name; `raw` are the bytes behind the JSON, which the tensors must use up."""
    given: dict[str, Array] = {}
    used = 0
    for index, tensor in enumerate(heads):
        field = f"inputs[{index}]"
        declared = _declared(tensor, field, given, signature)
        size = _binary_size(tensor, field, raw)
        elements = _elements(tensor.shape, declared, limits, field)
        if size is None:
            given[tensor.name] = _from_json(tensor, declared, elements, field)
            continue
        if used + size > len(raw):
            raise MalformedRequest(
                f"{field}.parameters.binary_data_size: {size} bytes wanted, {len(raw) - used} are left in the body"
            )
        given[tensor.name] = from_bytes(raw[used : used + size], declared.kind, tensor.shape, elements, field)
        used += size
    if used != len(raw):
        raise MalformedRequest(f"body: {len(raw) - used} bytes are left after the tensors that binary_data_size names")
    return given


def header_length_of(value: str | None, body_length: int) -> int | None:
    """The number in `Inference-Header-Content-Length`; MalformedRequest where it is none or beyond the body."""
    if value is None:
        return None
    # ASCII digits only: int() would take "+1", "1_0" and other scripts' digits too.
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise MalformedRequest(f"Inference-Header-Content-Length: {shown(value)} is no number of bytes")
    length = int(value)
    if length > body_length:
        raise MalformedRequest(f"Inference-Header-Content-Length: {length} given, the body has {body_length} bytes")
    return length


def _parts(body: bytes, header_length: int | None) -> tuple[bytes | memoryview, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    view = memoryview(body)
    return view[:header_length], view[header_length:]


def _check_counts(head: InferHead) -> None:
    if not head.inputs:
        raise MalformedRequest("inputs: the list is empty")
    for field, items in (("inputs", head.inputs), ("outputs", head.outputs or ())):
        if len(items) > MAX_TENSORS:
            raise MalformedRequest(f"{field}: {len(items)} tensors given, at most {MAX_TENSORS} are taken")


def _declared(tensor: TensorHead, field: str, given: dict[str, Array], signature: Signature) -> InputTensor:
    """The ensemble's input that this tensor is meant for, of the same datatype and named once."""
    if tensor.name in given:
        raise MalformedRequest(f"{field}.name: {shown(tensor.name)} is given twice")
    kind = datatype(tensor.datatype, f"{field}.datatype")
    declared = signature.input(tensor.name, f"{field}.name")
    if kind is not declared.kind:
        raise InvalidTensor(
            f"{field}.datatype: {kind.name} given, input '{declared.name}' of ensemble '{signature.ensemble}' "
            f"takes {declared.kind.name}"
        )
    return declared


def _elements(shape: list[int], declared: InputTensor, limits: Limits, field: str) -> int:
    """Elements of the shape, which is checked; at once where it is the usual one."""
    if shape[1:] == declared.row and 0 < (rows := shape[0]) <= limits.max_rows:
        elements = rows * declared.row_elements
        if 0 < elements <= limits.max_elements:
            return elements
    return check_shape(shape, declared.shape, limits, f"{field}.shape")


def _binary_size(tensor: TensorHead, field: str, raw: memoryview) -> int | None:
    """Bytes of this tensor in the binary part; None where its data is JSON."""
    parameters = tensor.parameters
    if not parameters:
        return None
    if parameters.get(SHARED_MEMORY) is not None:
        raise MalformedRequest(f"{field}.parameters.{SHARED_MEMORY}: shared memory is not offered; send the data")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise MalformedRequest(f"{field}.parameters.binary_data_size: {_given(size)} given, expected a number of bytes")
    if not _absent(tensor.data):
        raise MalformedRequest(f"{field}: has both 'data' and parameters.binary_data_size")
    if not raw and size:
        raise MalformedRequest(
            f"{field}.parameters.binary_data_size: {size} bytes wanted, the body has no binary part; "
            "is Inference-Header-Content-Length missing?"
        )
    return size


def _from_json(tensor: TensorHead, declared: InputTensor, elements: int, field: str) -> Array:
    if _absent(tensor.data):
        raise MalformedRequest(f"{field}: has neither 'data' nor parameters.binary_data_size")
    assert not isinstance(tensor.data, UnsetType)
    array = array_of(tensor.data, declared.kind, f"{field}.data", missing=declared.missing)
    if array.ndim == 1 and array.size == elements:
        return array.reshape(tensor.shape)
    if array.size != elements:
        raise MalformedRequest(
            f"{field}.data: {_count(array.size, declared.kind.scalar)} given, "
            f"shape {cut(tensor.shape)} needs {elements}"
        )
    if list(array.shape) != tensor.shape:
        raise MalformedRequest(f"{field}.data: nested as {cut(array.shape)}, shape says {cut(tensor.shape)}")
    return array


def _absent(data: Raw | UnsetType) -> bool:
    return isinstance(data, UnsetType) or bytes(memoryview(data)[:5]) == b"null"


def _count(number: int, scalar: str) -> str:
    noun = {"str": "string", "bool": "boolean"}.get(scalar, "number")
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _wanted(heads: list[OutputHead], binary: bool, signature: Signature) -> tuple[WantedOutput, ...]:
    wanted: list[WantedOutput] = []
    for index, head in enumerate(heads):
        field = f"outputs[{index}]"
        tensor = signature.output(head.name, f"{field}.name")
        if any(other.tensor is tensor for other in wanted):
            raise MalformedRequest(f"{field}.name: {shown(head.name)} is asked for twice")
        wanted.append(_wanted_output(head.parameters or {}, tensor.name, binary, signature, field))
    return tuple(wanted)


def _wanted_output(parameters: Parameters, name: str, binary: bool, signature: Signature, field: str) -> WantedOutput:
    tensor = signature.outputs[name]
    if parameters.get(SHARED_MEMORY) is not None:
        raise MalformedRequest(f"{field}.parameters.{SHARED_MEMORY}: shared memory is not offered")
    classes = parameters.get("classification")
    if classes is None:
        classes = 0
    if type(classes) is not int or classes < 0:
        raise MalformedRequest(
            f"{field}.parameters.classification: {_given(classes)} given, expected a number of classes"
        )
    if classes and not tensor.kind.size:
        raise InvalidTensor(f"{field}.parameters.classification: output '{name}' is BYTES, not numbers")
    return WantedOutput(tensor, _flag(parameters, "binary_data", f"{field}.parameters", default=binary), classes)


def _flag(parameters: Parameters, name: str, field: str, *, default: bool) -> bool:
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise MalformedRequest(f"{field}.{name}: {_given(value)} given, expected true or false")
    return value


def _timeout(parameters: Parameters) -> float | None:
    """Seconds of the `timeout` parameter, which is in microseconds as Triton's; None and 0 leave it to the ensemble."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise MalformedRequest(f"parameters.timeout: {_given(value)} given, expected whole microseconds from 0")
    return min(value / 1e6, MAX_TIMEOUT_S) if value else None


def _given(value: object) -> str:
    """A parameter's value inside a message."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else text[:40] + "…"
