"""Bundles: a msgpack header and the raw bytes of its tensors, written once a turn and read without a copy.

```
u64 header bytes | u64 body bytes | header, padded to 16 | body: tensors, each padded to 16
```
Everything starts at a multiple of 16, so that arrays are views of what was read and still aligned.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.front.messages import Tensor

Array = NDArray[Any]

PREFIX = struct.Struct("<QQ")
ALIGNMENT = 16
_PADDING = bytes(ALIGNMENT)
_encoder = msgspec.msgpack.Encoder()
_dtypes: dict[str, np.dtype[Any]] = {}
_dtype_names: dict[np.dtype[Any], str] = {}


class Body:
    """The raw part of a bundle that is being written."""

    __slots__ = ("parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, array: Array) -> Tensor:
        """Append the array's bytes; strings travel in the header."""
        if array.dtype.hasobject or array.dtype.kind == "U":
            return Tensor("O", array.shape, 0, 0, array.reshape(-1).tolist())
        data, at = array.tobytes(), self.size
        self.parts.append(data)
        if over := len(data) % ALIGNMENT:
            self.parts.append(_PADDING[over:])
        self.size += _padded(len(data))
        return Tensor(_name(array.dtype), array.shape, at, len(data), None)


def array_of(tensor: Tensor, body: memoryview) -> Array:
    """The tensor as a view of the body, read-only and aligned; strings as an object array of str."""
    if tensor.strings is not None:
        strings = np.empty(len(tensor.strings), object)
        strings[:] = tensor.strings
        return strings.reshape(tensor.shape)
    dtype = _dtypes.get(tensor.dtype)
    if dtype is None:
        dtype = _dtypes[tensor.dtype] = np.dtype(tensor.dtype)
    array: Array = np.ndarray(tensor.shape, dtype, body, tensor.at)
    return array


def encode(header: object, body: Body) -> bytes:
    """The bundle's bytes."""
    head = _encoder.encode(header)
    padding = _PADDING[len(head) % ALIGNMENT or ALIGNMENT :]
    return b"".join((PREFIX.pack(len(head), body.size), head, padding, *body.parts))


class Splitter:
    """Cuts a byte stream back into bundles."""

    __slots__ = ("_have", "_need", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have = 0
        self._need = PREFIX.size

    def feed(self, data: bytes) -> list[tuple[memoryview, memoryview]]:
        """The header and body of each bundle that is whole now; views of what was read."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._parts)
            self._parts, self._have = [], 0
        return self._cut(data)

    def _cut(self, data: bytes) -> list[tuple[memoryview, memoryview]]:
        view, at, found = memoryview(data), 0, []
        left = len(data)
        self._need = PREFIX.size
        while left >= PREFIX.size:
            head, size = PREFIX.unpack_from(data, at)
            body = at + PREFIX.size + _padded(head)
            self._need = body + size - at
            if left < self._need:
                break
            found.append((view[at + PREFIX.size : at + PREFIX.size + head], view[body : body + size]))
            at += self._need
            left -= self._need
            self._need = PREFIX.size
        if left:
            # A copy, so that what follows starts at a multiple of 16 again.
            self._parts, self._have = [data[at:]], left
        return found


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _name(dtype: np.dtype[Any]) -> str:
    found = _dtype_names.get(dtype)
    if found is None:
        found = _dtype_names[dtype] = dtype.str
    return found
