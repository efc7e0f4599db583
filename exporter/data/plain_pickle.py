"""Old data sets come as pickles, and a pickle is a program. Here it may build lists, dictionaries and arrays only.

The names that numpy's own pickles call are answered by inert stand-ins that keep what they are given; any other name
is refused before it is imported. Arrays are made afterwards, from checked shapes and bytes.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DATATYPES = {"u1": np.uint8, "i4": np.int32, "i8": np.int64, "f4": np.float32, "f8": np.float64}
"""Little-endian numbers alone."""
_MOST_DIMENSIONS = 8


class PickleError(Exception):
    """What a pickle holds is refused, or is not a pickle."""


class PlainDatatype:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code.decode("ascii", "replace") if isinstance(code, bytes) else code
        self.order: Any = "|"

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        self.order = order.decode("ascii", "replace") if isinstance(order, bytes) else order


class PlainArray:
    """Stands for `numpy.ndarray`: what it would be made of."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        """The array, over the pickle's own bytes. Raises PickleError where it is not numbers or not as long as said."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise PickleError("holds an array of an unknown form")
        _, shape, datatype, columns_first, data = self.state
        code = datatype.code if isinstance(datatype, PlainDatatype) else None
        if code not in _DATATYPES or datatype.order not in ("|", "<"):
            raise PickleError(f"holds an array of {code!r}, expected little-endian numbers")
        whole = isinstance(shape, tuple) and len(shape) <= _MOST_DIMENSIONS and all(type(n) is int for n in shape)
        if not whole or not isinstance(data, bytes) or any(n < 0 for n in shape):
            raise PickleError("holds an array of an unknown form")
        kind = np.dtype(_DATATYPES[code])
        if math.prod(shape) * kind.itemsize != len(data):
            raise PickleError(f"holds an array {list(shape)} of {kind} in {len(data)} bytes")
        return np.frombuffer(data, dtype=kind).reshape(shape, order="F" if columns_first else "C")


class _Encode:
    """Stands for `_codecs.encode`, by which Python 3 writes bytes into the old protocols."""

    __slots__ = ()  # a pickle can give attributes to what it calls; this takes none

    def __call__(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise PickleError("holds bytes of an unknown form")
        return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): PlainArray,
    ("numpy._core.multiarray", "_reconstruct"): PlainArray,
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): PlainDatatype,
    ("_codecs", "encode"): _Encode(),
}


class _Plain(pickle.Unpickler):
    def __init__(self, data: bytes, allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._allowed = allowed

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise PickleError(f"is a pickle that calls {module}.{name}, which is not run") from None


def load_plain(data: bytes, more: Mapping[tuple[str, str], Any] | None = None) -> Any:
    """What the pickle holds; strings of Python 2 are bytes, arrays are `PlainArray`. Raises PickleError.

    `more` are further names that it may call, (module, name) → an inert stand-in of ours.
    """
    try:
        return _Plain(data, {**_ALLOWED, **(more or {})}).load()
    except PickleError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise PickleError(f"is no pickle that can be read: {type(error).__name__}") from error
