"""Valid random inputs for an ensemble, as Open Inference Protocol bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.errors import TargetError

Protocol = Literal["json", "binary"]

VARIABLE_LENGTH = 8
"""What a dimension of -1 beyond the rows becomes; the same for all inputs, since they often must agree."""

_WORDS = ("adagio", "brass", "coda", "duet", "forte", "largo", "opera", "quartet", "solo", "tutti", "viola")
_INTEGERS = {
    "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
}  # fmt: skip
_FLOATS = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}


class Tensor(msgspec.Struct, frozen=True):
    """One input as the ensemble's metadata declares it; -1 in `shape` is any length, the first the rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def random_inputs(tensors: Sequence[Tensor], rows: int, rng: np.random.Generator) -> list[NDArray[Any]]:
    """One array `[rows, …]` per tensor: floats uniform in [0, 1), integers small, BYTES some words.

    Raises TargetError for a datatype that is none of the protocol's.
    """
    return [_random(tensor, rows, rng) for tensor in tensors]


def _random(tensor: Tensor, rows: int, rng: np.random.Generator) -> NDArray[Any]:
    shape = tuple(
        size if size >= 0 else (rows if axis == 0 else VARIABLE_LENGTH) for axis, size in enumerate(tensor.shape)
    )
    if tensor.datatype in _FLOATS:
        # Four digits: as long in JSON as data that people send.
        return rng.random(shape).round(4).astype(_FLOATS[tensor.datatype])
    if tensor.datatype in _INTEGERS:
        high = 256 if tensor.datatype == "UINT8" else 8  # pixels; else indices that any vocabulary has
        return rng.integers(0, high, shape).astype(_INTEGERS[tensor.datatype])
    if tensor.datatype == "BOOL":
        return rng.random(shape) < 0.5
    if tensor.datatype == "BYTES":
        sentences = [" ".join(rng.choice(_WORDS, 6).tolist()) for _ in range(int(np.prod(shape)))]
        return np.array(sentences, dtype=object).reshape(shape)
    raise TargetError(f"input '{tensor.name}' has datatype '{tensor.datatype}', which this program cannot make")


def encode(
    tensors: Sequence[Tensor], arrays: Sequence[NDArray[Any]], protocol: Protocol
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one infer request with these inputs."""
    return _json(tensors, arrays) if protocol == "json" else _binary(tensors, arrays)


def _json(tensors: Sequence[Tensor], arrays: Sequence[NDArray[Any]]) -> tuple[bytes, dict[str, str]]:
    inputs = [
        {"name": t.name, "datatype": t.datatype, "shape": a.shape, "data": _numbers(a)}
        for t, a in zip(tensors, arrays, strict=True)
    ]
    return msgspec.json.encode({"inputs": inputs}), {"Content-Type": "application/json"}


def _numbers(array: NDArray[Any]) -> list[Any]:
    if array.dtype in (np.float16, np.float32):  # 0.1 as float32 is 0.10000000149… as a Python float
        return [float(str(value)) for value in array.ravel()]
    numbers: list[Any] = array.ravel().tolist()
    return numbers


def _binary(tensors: Sequence[Tensor], arrays: Sequence[NDArray[Any]]) -> tuple[bytes, dict[str, str]]:
    parts = [_raw(array) for array in arrays]
    inputs = [
        {
            "name": t.name,
            "datatype": t.datatype,
            "shape": a.shape,
            "parameters": {"binary_data_size": len(part)},
        }
        for t, a, part in zip(tensors, arrays, parts, strict=True)
    ]
    header = msgspec.json.encode({"inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    return header + b"".join(parts), headers


def _raw(array: NDArray[Any]) -> bytes:
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    words = [word.encode() for word in array.ravel()]
    return b"".join(len(word).to_bytes(4, "little") + word for word in words)
