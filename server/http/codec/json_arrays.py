"""JSON numbers, booleans and strings to arrays and back."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import msgspec
import numpy as np
import orjson
from msgspec import Raw

from server.errors import MalformedRequest
from server.http.codec import lenient_json as lenient
from server.http.codec.errors import from_msgspec
from server.http.codec.limits import MAX_DIMENSIONS
from server.http.codec.numbers import many
from server.http.codec.tensors import Array, Datatype

LONG = 2048
"""Bytes of JSON from which a flat array of floats is worth a look by simdjson."""
WIDE = 256
"""Numbers in a row up to which the rows of a batch are encoded together."""
_WHITESPACE = b" \t\r\n"
_SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
_MISSING: Any = float | None | Literal["NaN", "Infinity", "-Infinity"]
_encoder = msgspec.json.Encoder()


@cache
def _decoder(scalar: str, depth: int) -> msgspec.json.Decoder[list[Any]]:
    kind: Any = _MISSING if scalar == "missing" else _SCALARS[scalar]
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def depth_of(raw: Raw | bytes) -> int:
    """How many arrays open before the first value; 0 for a value that is no array. Reads no further."""
    head = _head(raw)
    return len(head) - len(head.lstrip(b"["))


def first_value(raw: Raw | bytes) -> bytes:
    """The first byte of the first value inside all arrays: `{` of an object, `"` of a string, a digit, ..."""
    return _head(raw).lstrip(b"[")[:1]


def _head(raw: Raw | bytes) -> bytes:
    """The beginning without whitespace, long enough to hold the first value."""
    view = memoryview(raw)
    size = 48
    head = view[:size].tobytes().translate(None, _WHITESPACE)
    while not head.lstrip(b"[") and size < len(view):
        size *= 16
        head = view[:size].tobytes().translate(None, _WHITESPACE)
    return head


def array_of(raw: Raw | bytes, kind: Datatype, field: str, *, missing: bool = False) -> Array:
    """The array written as JSON, flat or nested, in the shape it is nested.

    Every scalar must be of the datatype's own kind: no strings for numbers, no 1.0 for integers, no 0 for booleans.
    Where floats may be `missing`, null and NaN are NaN, and Infinity and -Infinity what they say, as literals or as
    strings. Raises MalformedRequest with the path of what is wrong.
    """
    depth = depth_of(raw)
    if not 1 <= depth <= MAX_DIMENSIONS:
        given = "no array" if depth == 0 else f"more than {MAX_DIMENSIONS} nested arrays"
        raise MalformedRequest(f"{field}: {given} given, expected an array of {kind.name}")
    if depth == 1 and len(memoryview(raw)) > LONG and (flat := many(bytes(raw), kind)) is not None:
        return flat
    try:
        values = decode(_decoder(kind.scalar, depth), raw, field)
    except MalformedRequest as error:
        values = _with_missing(bytes(raw), kind, depth, field, error, allowed=missing)
    if kind.scalar == "str":
        if lenient.has_literals(bytes(raw)):
            raise MalformedRequest(f"{field}: NaN or Infinity given among texts, expected strings in quotes")
        return _strings(values, depth, field)
    try:
        with np.errstate(over="raise"):
            return np.array(values, kind.dtype)
    except (OverflowError, FloatingPointError) as error:
        raise MalformedRequest(_out_of_range(values, kind, field)) from error
    except ValueError as error:
        raise MalformedRequest(f"{field}: nested arrays differ in length") from error


def _with_missing(
    raw: bytes, kind: Datatype, depth: int, field: str, error: MalformedRequest, *, allowed: bool
) -> list[Any]:
    """The numbers with None and words among them, where that is all that was wrong and it is allowed."""
    path = str(error).partition(": ")[0]
    if kind.scalar != "float":
        if lenient.has_literals(raw):
            raise MalformedRequest(f"{path}: NaN or Infinity given, {kind.name} has none") from error
        raise error
    if allowed:
        try:
            found: list[Any] = decode(_decoder("missing", depth), lenient.as_words(raw), field)
        except MalformedRequest as other:
            raise (other if lenient.has_literals(raw) else error) from None
        return found
    word = (
        "null" if str(error).endswith("got null") else lenient.word_at(raw) if str(error).endswith("got text") else ""
    )
    if word:
        raise MalformedRequest(
            f"{path}: {word} given, expected a number; "
            "the ensemble does not say that this input takes missing ones (tutti publish --missing nan)"
        ) from error
    raise error


def decode(
    decoder: msgspec.json.Decoder[Any], raw: Raw | bytes | memoryview, field: str, *, strict: bool = False
) -> Any:
    """What `decoder` makes of `raw`; MalformedRequest that begins with the field for anything it may raise.

    Unless `strict`, what is no JSON is looked at again (`lenient`).
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        refused = from_msgspec(error, field)
        if strict and str(refused).endswith("got text") and lenient.has_literals(bytes(raw)):
            refused = MalformedRequest(f"{refused}, NaN or Infinity")
        raise refused from error
    except msgspec.DecodeError as error:
        if not len(memoryview(raw)):
            raise MalformedRequest(f"{field or 'body'}: is empty, expected JSON") from error
        if not strict and (plain := lenient.as_json(bytes(raw))) is not None:
            return decode(decoder, plain, field, strict=True)
        raise MalformedRequest(f"{field or 'body'}: {_lower(str(error))}") from error
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"{field or 'body'}: JSON is not UTF-8") from error
    except RecursionError as error:
        raise MalformedRequest(f"{field or 'body'}: JSON is nested too deep") from error


def text(array: Array) -> bytes:
    """The array as JSON, nested as its shape; NaN and infinities become null.

    A float is written with the fewest digits that read back as the same float of its size.
    """
    if array.dtype.hasobject:
        return _encoder.encode(array.tolist())
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)


def row_texts(array: Array) -> list[bytes] | None:
    """Each row of `[n, …]` as JSON numbers or strings between commas, without brackets; None for empty or wide rows."""
    n = len(array)
    if not 0 < array.size <= WIDE * n:
        return None
    flat = array.reshape(n, -1)
    if array.dtype.hasobject:
        if flat.shape[1] == 1:
            return list(map(_encoder.encode, flat[:, 0].tolist()))
        return [_encoder.encode(row)[1:-1] for row in flat.tolist()]
    return text(flat)[2:-2].split(b"],[")


def row_values(array: Array) -> list[bytes]:
    """Each row of `[n, …]` as one JSON value: a number or a string of `[n]`, else an array."""
    if array.dtype.hasobject:
        return list(map(_encoder.encode, array.tolist()))
    if array.ndim > 2 or not array.size:
        return [text(row) for row in array]
    if array.ndim == 1:
        return text(array)[1:-1].split(b",")
    return [b"[%b]" % row for row in text(array)[2:-2].split(b"],[")]


def _strings(values: list[Any], depth: int, field: str) -> Array:
    array = np.array(values, object)
    if array.ndim != depth:
        raise MalformedRequest(f"{field}: nested arrays differ in length")
    return array


def _out_of_range(values: list[Any], kind: Datatype, field: str) -> str:
    """Names the first number that does not fit."""
    info: Any = (np.iinfo if kind.scalar == "int" else np.finfo)(kind.dtype)
    # Python's own numbers: a numpy limit would be compared in floating point.
    least, most = (int(info.min), int(info.max)) if kind.scalar == "int" else (float(info.min), float(info.max))
    return f"{field}{_first_outside(values, least, most)}: out of range, {kind.name} is from {least} to {most}"


def _first_outside(values: list[Any], least: float, most: float) -> str:
    for index, value in enumerate(values):
        if isinstance(value, list):
            if found := _first_outside(value, least, most):
                return f"[{index}]{found}"
        elif isinstance(value, int | float) and not least <= value <= most:
            return f"[{index}] {str(value)[:40]}"
    return ""


def _lower(message: str) -> str:
    return message if message.startswith("JSON") else message[:1].lower() + message[1:]
