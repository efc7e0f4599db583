"""The protocol's datatypes beside numpy's, and raw tensor bytes in both directions."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from server.errors import InvalidTensor, MalformedRequest, TooLarge
from server.http.codec.limits import Limits

Array = NDArray[Any]
Scalar = Literal["bool", "int", "float", "str"]


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype of the protocol: its numpy dtype, the JSON scalar it is written as, its size in bytes."""

    name: str
    dtype: np.dtype[Any]
    scalar: Scalar
    size: int
    """Bytes of one element in the binary form; 0 for BYTES, whose elements carry their own length."""


def _table() -> dict[str, Datatype]:
    table = {"BOOL": Datatype("BOOL", np.dtype(np.bool_), "bool", 1)}
    for bits in (8, 16, 32, 64):
        table[f"UINT{bits}"] = Datatype(f"UINT{bits}", np.dtype(f"<u{bits // 8}"), "int", bits // 8)
        table[f"INT{bits}"] = Datatype(f"INT{bits}", np.dtype(f"<i{bits // 8}"), "int", bits // 8)
        if bits > 8:
            table[f"FP{bits}"] = Datatype(f"FP{bits}", np.dtype(f"<f{bits // 8}"), "float", bits // 8)
    table["BYTES"] = Datatype("BYTES", np.dtype(object), "str", 0)
    return table


DATATYPES = _table()


def datatype(name: str, field: str) -> Datatype:
    """The datatype called `name`; MalformedRequest names `field` and what there is."""
    found = DATATYPES.get(name)
    if found is None:
        hint = "; numpy has no BF16, send FP32 or FP16" if name == "BF16" else ""
        raise MalformedRequest(f"{field}: unknown datatype {name[:32]!r}, expected one of {', '.join(DATATYPES)}{hint}")
    return found


def check_shape(shape: list[int], declared: tuple[int, ...], limits: Limits, field: str) -> int:
    """Elements of a tensor of this shape, counted in Python integers so that nothing overflows.

    `declared` is the input's shape with -1 where any length is welcome. Raises MalformedRequest for what is no
    shape, InvalidTensor for what the input does not take, TooLarge above the limits.
    """
    if any(size < 0 for size in shape):
        raise MalformedRequest(f"{field}: {cut(shape)} has a negative dimension")
    if len(shape) != len(declared) or any(d not in (-1, s) for s, d in zip(shape, declared, strict=True)):
        raise InvalidTensor(f"{field}: {cut(shape)} given, expected {cut(declared)} where -1 is any length")
    if max(shape, default=0) > limits.max_elements:
        raise TooLarge(f"{field}: {cut(shape)} has a dimension above {limits.max_elements}, the most elements taken")
    elements = prod(shape)
    if elements == 0:
        raise InvalidTensor(f"{field}: {cut(shape)} has no elements; a request has at least one row")
    if shape[0] > limits.max_rows:
        raise TooLarge(f"{field}: {shape[0]} rows given, at most {limits.max_rows} are taken in one request")
    if elements > limits.max_elements:
        raise TooLarge(f"{field}: {cut(shape)} has {elements} elements, at most {limits.max_elements} are taken")
    return elements


def cut(shape: list[int] | tuple[int, ...]) -> str:
    """A shape inside a message, cut where a client made it absurdly long."""
    text = ", ".join(map(str, shape[:MAX_SHOWN]))
    if len(text) > 200:
        text = text[:200] + "…"
    return f"[{text}{', …' if len(shape) > MAX_SHOWN else ''}]"


MAX_SHOWN = 16


def from_bytes(data: memoryview, kind: Datatype, shape: list[int], elements: int, field: str) -> Array:
    """The tensor behind raw little-endian bytes; a view where the bytes are aligned, else a copy.

    The array keeps the whole body alive and cannot be written. BYTES become an object array of str.
    """
    if kind.size == 0:
        return _strings_from_bytes(data, elements, field).reshape(shape)
    if len(data) != elements * kind.size:
        raise MalformedRequest(
            f"{field}: binary_data_size is {len(data)}, {kind.name} {cut(shape)} needs {elements * kind.size}"
        )
    array: Array = np.frombuffer(data, kind.dtype).reshape(shape)
    if kind.name == "BOOL" and data and int(array.view(np.uint8).max()) > 1:
        raise MalformedRequest(f"{field}: a BOOL byte is neither 0 nor 1")
    # A JSON header of odd length leaves floats off their boundary; runtimes are entitled to aligned tensors.
    return array if array.flags.aligned else array.copy()


def _strings_from_bytes(data: memoryview, elements: int, field: str) -> Array:
    """Each element is a 4-byte little-endian length and as many bytes of UTF-8."""
    strings: list[str] = []
    offset, end = 0, len(data)
    while offset < end:
        if len(strings) == elements:
            raise MalformedRequest(f"{field}: {end - offset} bytes are left after {elements} BYTES elements")
        if end - offset < 4:
            raise MalformedRequest(f"{field}: BYTES element {len(strings)} is cut off in its length")
        (length,) = struct.unpack_from("<I", data, offset)
        offset += 4
        if length > end - offset:
            raise MalformedRequest(
                f"{field}: BYTES element {len(strings)} says {length} bytes, {end - offset} are left"
            )
        strings.append(text_of(data[offset : offset + length], f"{field}: BYTES element {len(strings)}"))
        offset += length
    if len(strings) != elements:
        raise MalformedRequest(f"{field}: {len(strings)} BYTES elements given, the shape needs {elements}")
    return object_array(strings)


def text_of(data: bytes | memoryview, field: str) -> str:
    """The text of UTF-8 bytes; MalformedRequest else: ONNX strings are UTF-8."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"{field} is not UTF-8 at byte {error.start}") from error


def object_array(strings: list[str]) -> Array:
    """An object array of exactly these strings, whatever their lengths."""
    array = np.empty(len(strings), object)
    array[:] = strings
    return array


def to_bytes(array: Array, kind: Datatype) -> bytes:
    """The binary form of a tensor, row-major and little-endian."""
    if kind.size:
        return array.astype(kind.dtype, copy=False).tobytes()
    parts: list[bytes] = []
    for text in array.reshape(-1).tolist():
        encoded = text if isinstance(text, bytes) else str(text).encode()
        parts += (struct.pack("<I", len(encoded)), encoded)
    return b"".join(parts)
