"""Every datatype survives its way in and out, JSON and binary."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from server.http.codec.json_arrays import array_of
from server.http.codec.oip.request import decode_request
from server.http.codec.oip.response import encode_answer
from server.http.codec.tensors import DATATYPES, from_bytes, to_bytes
from tests.server.http.standin import SMALL, echo, signature

NUMERIC = sorted(name for name in DATATYPES if name != "BYTES")
SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=6)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def numbers(name: str, *, finite: bool) -> st.SearchStrategy[NDArray[Any]]:
    dtype = DATATYPES[name].dtype
    elements = arrays.from_dtype(dtype, allow_nan=not finite, allow_infinity=not finite) if dtype.kind == "f" else None
    return arrays.arrays(dtype, SHAPES, elements=elements)


def strings() -> st.SearchStrategy[NDArray[Any]]:
    return arrays.arrays(object, SHAPES, elements=TEXT, fill=st.nothing())


def request(datatype: str, array: NDArray[Any], *, binary_in: bool, binary_out: bool) -> tuple[bytes, int | None]:
    kind = DATATYPES[datatype]
    head: dict[str, Any] = {"name": "x", "shape": list(array.shape), "datatype": datatype}
    raw = b""
    if binary_in:
        raw = to_bytes(array, kind)
        head["parameters"] = {"binary_data_size": len(raw)}
    else:
        head["data"] = array.reshape(-1).tolist()
    outputs = [{"name": "y", "parameters": {"binary_data": binary_out}}]
    text = json.dumps({"inputs": [head], "outputs": outputs}).encode()
    return text + raw, len(text) if binary_in else None


def there_and_back(datatype: str, array: NDArray[Any], *, binary_in: bool, binary_out: bool) -> NDArray[Any]:
    """The array after decoding it from a request and encoding it into an answer."""
    sign = signature(echo(datatype))
    body, length = request(datatype, array, binary_in=binary_in, binary_out=binary_out)
    decoded = decode_request(body, length, sign, SMALL)
    reply = encode_answer(decoded, {"y": decoded.feeds["x"]}, sign)
    headers = dict(reply.headers)
    head_length = int(headers.get(b"inference-header-content-length", len(reply.body)))
    (output,) = json.loads(reply.body[:head_length])["outputs"]
    assert output["datatype"] == datatype
    kind = DATATYPES[datatype]
    if binary_out:
        size = output["parameters"]["binary_data_size"]
        assert head_length + size == len(reply.body)
        return from_bytes(memoryview(reply.body)[head_length:], kind, output["shape"], array.size, "y")
    return np.array(output["data"], kind.dtype).reshape(output["shape"])


def same(left: NDArray[Any], right: NDArray[Any]) -> bool:
    """Equal bit by bit, -0 and NaN's bits included."""
    if left.dtype == object:
        return left.shape == right.shape and left.tolist() == right.tolist()
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@pytest.mark.parametrize("datatype", NUMERIC)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), binary_in=st.booleans())
def test_numbers_come_back_bit_by_bit_as_json(datatype: str, data: st.DataObject, binary_in: bool) -> None:
    array = data.draw(numbers(datatype, finite=True))
    back = there_and_back(datatype, array, binary_in=binary_in, binary_out=False)
    # -0.0 is the one number that JSON's readers may take for 0.
    assert np.array_equal(back, array)
    assert same(back + np.zeros_like(back) if back.dtype.kind == "f" else back, array + np.zeros_like(array)) or (
        array.dtype == np.bool_
    )


@pytest.mark.parametrize("datatype", NUMERIC)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_numbers_come_back_bit_by_bit_as_binary(datatype: str, data: st.DataObject) -> None:
    array = data.draw(numbers(datatype, finite=False))
    assert same(there_and_back(datatype, array, binary_in=True, binary_out=True), array)


@settings(max_examples=60, deadline=None)
@given(array=strings(), binary_in=st.booleans(), binary_out=st.booleans())
def test_strings_come_back_whole(array: NDArray[Any], binary_in: bool, binary_out: bool) -> None:
    assert same(there_and_back("BYTES", array, binary_in=binary_in, binary_out=binary_out), array)


@settings(max_examples=60, deadline=None)
@given(array=numbers("FP64", finite=True))
def test_nested_and_flat_json_mean_the_same(array: NDArray[Any]) -> None:
    kind = DATATYPES["FP64"]
    nested = array_of(json.dumps(array.tolist()).encode(), kind, "x")
    flat = array_of(json.dumps(array.reshape(-1).tolist()).encode(), kind, "x")
    assert same(nested, flat.reshape(array.shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_null_in_json(value: float) -> None:
    sign = signature(echo("FP32"))
    body, length = request("FP32", np.array([[value, 1]], np.float32), binary_in=True, binary_out=False)
    decoded = decode_request(body, length, sign, SMALL)
    reply = encode_answer(decoded, {"y": decoded.feeds["x"]}, sign)
    assert json.loads(reply.body)["outputs"][0]["data"] == [None, 1.0]


def test_aligned_binary_numbers_are_not_copied() -> None:
    body = bytes(256)
    array = from_bytes(memoryview(body), DATATYPES["FP32"], [64], 64, "x")
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    assert not array.flags.writeable


def test_unaligned_binary_numbers_are_copied_to_their_boundary() -> None:
    body = b"x" + np.arange(4, dtype="<f4").tobytes()
    array = from_bytes(memoryview(body)[1:], DATATYPES["FP32"], [4], 4, "x")
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


def test_whitespace_anywhere_in_the_data_is_welcome() -> None:
    raw = b" [ " + b"\n" * 5000 + b"[1,\t2] , [3, 4]\r\n]"
    assert array_of(raw, DATATYPES["INT8"], "x").tolist() == [[1, 2], [3, 4]]
