"""Tensor datatypes: the protocol's names, onnxruntime's and numpy's for the same thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
"""An array of any datatype; strings are object arrays of `str`."""

Feeds = Mapping[str, Array]
"""Ensemble input name → array [n, ...]; every input of the manifest is there, with equal n."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ONNX_TYPES: Mapping[str, str] = {
    "BOOL": "tensor(bool)",
    "UINT8": "tensor(uint8)",
    "UINT16": "tensor(uint16)",
    "UINT32": "tensor(uint32)",
    "UINT64": "tensor(uint64)",
    "INT8": "tensor(int8)",
    "INT16": "tensor(int16)",
    "INT32": "tensor(int32)",
    "INT64": "tensor(int64)",
    "FP16": "tensor(float16)",
    "FP32": "tensor(float)",
    "FP64": "tensor(double)",
    "BYTES": "tensor(string)",
}
"""Datatype of the manifest → the type that onnxruntime reports for it."""

DATATYPES: Mapping[str, str] = {onnx: name for name, onnx in ONNX_TYPES.items()}
"""The other way round."""

FLOAT_TYPES = frozenset({"tensor(float16)", "tensor(float)", "tensor(double)"})
"""What a member's fused output may be."""

NUMPY_TYPES: Mapping[str, DTypeLike] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
"""Datatype of the manifest → numpy's; BYTES are object arrays of `str`."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output as onnxruntime reports it; a dimension is a number, a symbol or None.

    An empty shape is a scalar or, more often, a rank that the model does not state.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]
