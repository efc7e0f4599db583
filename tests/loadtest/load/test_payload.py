"""Random inputs are valid, the same for the same seed, and encoded as the protocol says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from loadtest.errors import TargetError
from loadtest.load.payload import VARIABLE_LENGTH, Tensor, encode, random_inputs

DATATYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("datatype", [*DATATYPES, "BYTES"])
def test_each_datatype_is_made_in_the_declared_shape(datatype: str) -> None:
    (array,) = random_inputs([Tensor("x", datatype, (-1, 3, -1))], 5, rng())
    assert array.shape == (5, 3, VARIABLE_LENGTH)
    assert array.dtype == DATATYPES.get(datatype, np.object_)


def test_the_same_seed_makes_the_same_inputs() -> None:
    tensors = [Tensor("x", "FP32", (-1, 4)), Tensor("text", "BYTES", (-1, 1))]
    first, second = (random_inputs(tensors, 3, np.random.default_rng(1)) for _ in range(2))
    other = random_inputs(tensors, 3, np.random.default_rng(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_a_json_body_carries_the_very_numbers() -> None:
    tensors = [Tensor("x", "FP32", (-1, 4)), Tensor("ids", "INT64", (-1, 2)), Tensor("text", "BYTES", (-1, 1))]
    arrays = random_inputs(tensors, 3, rng())
    body, headers = encode(tensors, arrays, "json")
    assert headers == {"Content-Type": "application/json"}
    for tensor, array, sent in zip(tensors, arrays, json.loads(body)["inputs"], strict=True):
        assert (sent["name"], sent["datatype"], tuple(sent["shape"])) == (tensor.name, tensor.datatype, array.shape)
        received: np.ndarray[Any, Any] = np.array(sent["data"], dtype=array.dtype).reshape(array.shape)
        assert np.array_equal(received, array)
    assert len(body) < 600  # 0.1 is not sent as 0.10000000149011612


def test_a_binary_body_carries_the_very_bytes() -> None:
    tensors = [Tensor("x", "FP32", (-1, 4)), Tensor("text", "BYTES", (-1, 1))]
    arrays = random_inputs(tensors, 2, rng())
    body, headers = encode(tensors, arrays, "binary")
    length = int(headers["Inference-Header-Content-Length"])
    header = json.loads(body[:length])
    sizes = [one["parameters"]["binary_data_size"] for one in header["inputs"]]
    assert header["parameters"] == {"binary_data_output": True}
    assert length + sum(sizes) == len(body)
    numbers, words = body[length : length + sizes[0]], body[length + sizes[0] :]
    assert np.array_equal(np.frombuffer(numbers, "<f4").reshape(2, 4), arrays[0])
    first = int.from_bytes(words[:4], "little")
    assert words[4 : 4 + first].decode() == arrays[1][0, 0]


def test_a_datatype_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(TargetError, match="input 'x' has datatype 'FP8'"):
        random_inputs([Tensor("x", "FP8", (-1,))], 1, rng())
