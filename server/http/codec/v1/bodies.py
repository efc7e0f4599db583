"""Rows that are no JSON numbers: an image or text as the body, and `{"b64": …}` objects."""

from __future__ import annotations

import base64
import binascii

import msgspec
import numpy as np
from msgspec import Raw, Struct

from server.errors import MalformedRequest, TooLarge, UnsupportedMedia
from server.http.codec import images
from server.http.codec.declared import InputTensor
from server.http.codec.errors import shown
from server.http.codec.json_arrays import decode
from server.http.codec.lenient_json import BOM
from server.http.codec.limits import Limits
from server.http.codec.signature import Signature
from server.http.codec.tensors import Array, check_shape, object_array, text_of

IMAGES_AT_FULL_SIZE = 8
"""Images of one request that may be as large as the limit; with more rows each may be smaller in proportion,
so that a small body of highly compressed images cannot keep a thread busy for minutes."""
_ALPHABET = bytes.maketrans(b"-_", b"+/")
_WRAPPING = b" \t\r\n"
CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})


class Base64(Struct, forbid_unknown_fields=True):
    """TensorFlow Serving's way to write bytes in JSON."""

    b64: str


_base64 = msgspec.json.Decoder(Base64)


def image_row(body: bytes, media: str, signature: Signature, limits: Limits) -> dict[str, Array]:
    """An image body as the one row of the ensemble's only input."""
    only = _only(signature, media)
    if only.image is None:
        raise UnsupportedMedia(
            f"Content-Type: {media} given, input '{only.name}' of '{signature.ensemble}' takes no image"
        )
    fmt = images.MEDIA_TYPES[media]
    row = images.row_of(body, only.image, only.kind, limits.max_elements, "body", fmt)
    check_shape(list(row.shape), only.shape, limits, "body")
    return {only.name: row}


def text_row(body: bytes, parameters: str, signature: Signature, limits: Limits) -> dict[str, Array]:
    """A text body as the one row of the ensemble's only input."""
    only = _only(signature, "text/plain")
    if only.text is None:
        raise UnsupportedMedia(
            f"Content-Type: text/plain given, input '{only.name}' of '{signature.ensemble}' takes no text"
        )
    _check_charset(parameters)
    text = text_of(body.removeprefix(BOM), "body")
    if len(text) > only.text.max_chars:
        raise TooLarge(f"body: {len(text)} characters given, input '{only.name}' takes {only.text.max_chars}")
    row = object_array([text]).reshape([1] * len(only.shape))
    check_shape(list(row.shape), only.shape, limits, "body")
    return {only.name: row}


def from_base64(rows: list[Raw], declared: InputTensor, limits: Limits, field: str) -> Array:
    """Rows written as `{"b64": "…"}`: the bytes of a string, or an image where the input takes images."""
    decoded = [_bytes_of(row, f"{field}[{index}]") for index, row in enumerate(rows)]
    if declared.image is not None:
        pixels = min(limits.max_elements, IMAGES_AT_FULL_SIZE * limits.max_elements // len(rows))
        return np.concatenate(
            [
                images.row_of(data, declared.image, declared.kind, pixels, f"{field}[{index}]")
                for index, data in enumerate(decoded)
            ]
        )
    strings = [text_of(data, f"{field}[{index}].b64") for index, data in enumerate(decoded)]
    return object_array(strings).reshape([-1] + [1] * (len(declared.shape) - 1))


def _only(signature: Signature, media: str) -> InputTensor:
    only = signature.only_input
    if only is None:
        raise UnsupportedMedia(
            f"Content-Type: {media} given, ensemble '{signature.ensemble}' has {len(signature.inputs)} inputs; "
            "send application/json"
        )
    return only


def _check_charset(parameters: str) -> None:
    for parameter in parameters.split(";"):
        key, _, value = parameter.strip().partition("=")
        if key.lower() == "charset" and value.strip('" ').lower() not in CHARSETS:
            raise UnsupportedMedia(f"Content-Type: charset {shown(value)} given, expected utf-8")


def _bytes_of(row: Raw, field: str) -> bytes:
    """The bytes of base64 in either alphabet (RFC 4648), wrapped or not, padded or not."""
    value: Base64 = decode(_base64, row, field)
    try:
        text = value.b64.encode("ascii").translate(_ALPHABET, _WRAPPING).rstrip(b"=")
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest(f"{field}.b64: is not base64") from error
