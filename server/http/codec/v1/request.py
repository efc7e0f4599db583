"""TensorFlow Serving's predict requests: `instances` by rows, `inputs` by columns, or one image or text."""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from server.errors import InvalidTensor, MalformedRequest, TooLarge, UnsupportedMedia
from server.http.codec import images
from server.http.codec.call import JSON_MEDIA
from server.http.codec.declared import InputTensor
from server.http.codec.errors import shown
from server.http.codec.json_arrays import array_of, decode, first_value
from server.http.codec.limits import Limits
from server.http.codec.request import InferRequest, Layout
from server.http.codec.signature import Signature, in_order
from server.http.codec.tensors import Array, check_shape
from server.http.codec.v1.bodies import from_base64, image_row, text_row

SIGNATURES = ("", "serving_default")


class PredictHead(Struct):
    """The body; exactly one of `instances` and `inputs`. Unknown fields are passed over; null is as if absent."""

    instances: Raw | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    signature_name: str | None = ""


_head = msgspec.json.Decoder(PredictHead)
_list = msgspec.json.Decoder(list[Raw])
_object = msgspec.json.Decoder(dict[str, Raw])


def decode_predict(body: bytes, content_type: str | None, signature: Signature, limits: Limits) -> InferRequest:
    """The request in `body`, read as its media type says and checked against the ensemble's inputs. Any thread.

    Raises UnsupportedMedia, MalformedRequest, InvalidTensor or TooLarge.
    """
    media, _, parameters = (content_type or "application/json").partition(";")
    media = media.strip().lower()
    if media in images.MEDIA_TYPES:
        return _request(image_row(body, media, signature, limits), "rows", signature)
    if media == "text/plain":
        return _request(text_row(body, parameters, signature, limits), "rows", signature)
    if media not in JSON_MEDIA:  # TensorFlow Serving does not look at the type
        raise UnsupportedMedia(
            f"Content-Type: {shown(media)} given, expected application/json, image/png, image/jpeg or text/plain"
        )
    return _from_json(body, signature, limits)


def _from_json(body: bytes, signature: Signature, limits: Limits) -> InferRequest:
    head: PredictHead = decode(_head, body, "")
    if head.signature_name and head.signature_name not in SIGNATURES:
        raise InvalidTensor(f"signature_name: {shown(head.signature_name)} given, there is only 'serving_default'")
    instances, inputs = _given(head.instances), _given(head.inputs)
    if instances is not None:
        if inputs is not None:
            raise MalformedRequest("body: has both 'instances' and 'inputs', expected one of them")
        return _request(_by_rows(instances, signature, limits), "rows", signature)
    if inputs is None:
        raise MalformedRequest("body: has neither 'instances' nor 'inputs'")
    return _request(_by_columns(inputs, signature, limits), "columns", signature)


def _given(raw: Raw | UnsetType) -> Raw | None:
    return None if isinstance(raw, UnsetType) or bytes(memoryview(raw)[:5]) == b"null" else raw


def _request(given: dict[str, Array], layout: Layout, signature: Signature) -> InferRequest:
    feeds = in_order(given, signature)
    rows = next(iter(feeds.values())).shape[0]
    return InferRequest(feeds, rows, signature.default_outputs, layout=layout)


def _by_rows(raw: Raw, signature: Signature, limits: Limits) -> dict[str, Array]:
    """`instances`: a list whose items are one row of the only input, or objects with a row of each input."""
    only = signature.only_input
    if only is not None and first_value(raw) != b"{":
        return {only.name: _whole(raw, only, limits, "instances")}
    rows = _row_list(raw, limits, "instances")
    if only is not None and _is_base64(rows[0], only):
        return {only.name: _checked(from_base64(rows, only, limits, "instances"), only, limits, "instances")}
    columns: dict[str, list[Raw]] = {name: [] for name in signature.inputs}
    for index, row in enumerate(rows):
        _add_row(columns, row, f"instances[{index}]", signature)
    return {name: _column(values, signature.inputs[name], limits) for name, values in columns.items()}


def _row_list(raw: Raw, limits: Limits, field: str) -> list[Raw]:
    rows: list[Raw] = decode(_list, raw, field)
    if not rows:
        raise InvalidTensor(f"{field}: the list is empty; a request has at least one row")
    if len(rows) > limits.max_rows:
        raise TooLarge(f"{field}: {len(rows)} rows given, at most {limits.max_rows} are taken in one request")
    return rows


def _add_row(columns: dict[str, list[Raw]], row: Raw, field: str, signature: Signature) -> None:
    values: dict[str, Raw] = decode(_object, row, field)
    for name in values:
        signature.input(name, field)
    for name, column in columns.items():
        if name not in values:
            raise InvalidTensor(f"{field}: input '{name}' is missing")
        column.append(values[name])


def _column(rows: list[Raw], declared: InputTensor, limits: Limits) -> Array:
    """One input's rows, which stood in different objects, as one tensor."""
    field = f"instances.{declared.name}"
    joined = b"".join((b"[", b",".join([bytes(memoryview(row)) for row in rows]), b"]"))
    try:
        return _whole(joined, declared, limits, field)
    except MalformedRequest as error:
        path = re.sub(rf"^instances\.{re.escape(declared.name)}(\[\d+\])", rf"instances\1.{declared.name}", str(error))
        raise MalformedRequest(path) from error


def _by_columns(raw: Raw, signature: Signature, limits: Limits) -> dict[str, Array]:
    """`inputs`: the whole tensor of the only input, or an object of tensors by name."""
    if bytes(memoryview(raw)[:1]) == b"{":
        columns: dict[str, Raw] = decode(_object, raw, "inputs")
        return {
            name: _whole(value, signature.input(name, "inputs"), limits, f"inputs.{name}")
            for name, value in columns.items()
        }
    only = signature.only_input
    if only is None:
        raise InvalidTensor(f"inputs: expected an object with {', '.join(signature.inputs)}")
    return {only.name: _whole(raw, only, limits, "inputs")}


def _whole(raw: Raw | bytes, declared: InputTensor, limits: Limits, field: str) -> Array:
    """A whole tensor `[rows, …]`, nested as its shape; or its rows as `{"b64": …}` objects."""
    if _takes_base64(declared) and first_value(raw) == b"{":
        rows = _row_list(Raw(bytes(memoryview(raw))), limits, field)
        return _checked(from_base64(rows, declared, limits, field), declared, limits, field)
    array = array_of(raw, declared.kind, field, missing=declared.missing)
    return _checked(_with_unit_dimensions(array, declared), declared, limits, field)


def _with_unit_dimensions(array: Array, declared: InputTensor) -> Array:
    """Rows written without dimensions of 1 at their end, as plain numbers for `[n, 1]`, in the declared shape."""
    lacking = declared.shape[array.ndim :]
    if not lacking or any(size != 1 for size in lacking):
        return array
    return array.reshape(*array.shape, *lacking)


def _is_base64(row: Raw, only: InputTensor) -> bool:
    """Whether a row is the only input's own `{"b64": …}`, not an object that names the input."""
    return _takes_base64(only) and only.name != "b64" and "b64" in decode(_object, row, "instances[0]")


def _takes_base64(declared: InputTensor) -> bool:
    return declared.image is not None or not declared.kind.size


def _checked(array: Array, declared: InputTensor, limits: Limits, field: str) -> Array:
    check_shape(list(array.shape), declared.shape, limits, field)
    return array
