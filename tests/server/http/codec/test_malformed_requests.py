"""Bad requests: each gets its status and a sentence that names the field, by either way in."""

# ruff: noqa: E501  # one row of the table is one line

from __future__ import annotations

import json
import struct
from typing import Any, get_args

import pytest

from server.http import Reply
from tests.server.http.asking import Way, answer, predict, tensor

A = tensor("a", [2, 3], data=[1, 2, 3, 4, 5, 6])
B = tensor("b", [2], "INT64", data=[1, 2])


def one(**changes: Any) -> dict[str, Any]:
    """A request to the digits with one tensor changed."""
    return {"inputs": [{**tensor(), **changes}]}


def without(field: str) -> dict[str, Any]:
    return {"inputs": [{key: value for key, value in tensor().items() if key != field}]}


def asking(**parameters: Any) -> dict[str, Any]:
    """A valid request with one output and its parameters."""
    return {"inputs": [tensor()], "outputs": [{"name": "label", "parameters": parameters}]}


def binary(head: dict[str, Any], raw: bytes) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(head).encode()
    return text + raw, {"header_length": str(len(text))}


def sized(size: Any, **changes: Any) -> dict[str, Any]:
    return {"inputs": [{**tensor(parameters={"binary_data_size": size}), **changes}]}


V2: list[tuple[str, str, Any, int, str]] = [
    ("nothing", "digits", b"", 400, "body: is empty"),
    ("no JSON", "digits", b"hello", 400, "body: JSON is malformed"),
    ("cut off", "digits", b'{"inputs": [{"name": "im', 400, "body: input data was truncated"),
    ("a number", "digits", b"3", 400, "body: expected an object, got a whole number"),
    ("a list", "digits", b"[]", 400, "body: expected an object, got a list"),
    ("null", "digits", b"null", 400, "body: expected an object, got null"),
    ("trailing", "digits", json.dumps(one()).encode() + b"x", 400, "trailing characters"),
    ("two byte order marks", "digits", b"\xef\xbb\xbf" * 2 + json.dumps(one()).encode(), 400, "JSON is malformed"),
    ("UTF-16", "digits", json.dumps(one()).encode("utf-16"), 400, "JSON is malformed"),
    ("not UTF-8", "digits", b'{"inputs": [], "id": "\xff"}', 400, "not UTF-8"),
    ("UTF-16", "digits", json.dumps(one()).encode("utf-16"), 400, "JSON is malformed"),
    ("deep", "digits", b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "inputs[0]: expected an object"),
    ("deep elsewhere", "digits", b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "nested too deep"),
    ("deep data", "digits", {"inputs": [tensor(data=[[[[[[[[[[1]]]]]]]]]])]}, 400, "inputs[0].data: more than 8 nested"),
    ("no inputs", "digits", {}, 400,  "body: the field 'inputs' is missing"),
    ("empty inputs", "digits", {"inputs": []}, 400, "inputs: the list is empty"),
    ("inputs no list", "digits", {"inputs": {}}, 400, "inputs: expected a list, got an object"),
    ("input no object", "digits", {"inputs": [1]}, 400, "inputs[0]: expected an object, got a whole number"),
    ("too many inputs", "digits", {"inputs": [tensor()] * 65}, 400, "inputs: 65 tensors given, at most 64"),
    ("too many outputs", "digits", {"inputs": [tensor()], "outputs": [{"name": "label"}] * 65}, 400, "outputs: 65"),
    ("id a number", "digits", {"inputs": [tensor()], "id": 3}, 400, "id: expected text, got a whole number"),
    ("parameters a list", "digits", {"inputs": [tensor()], "parameters": []}, 400, "parameters: expected an object"),
    ("no name", "digits", without("name"), 400, "inputs[0]: the field 'name' is missing"),
    ("no shape", "digits", without("shape"), 400, "inputs[0]: the field 'shape' is missing"),
    ("no datatype", "digits", without("datatype"), 400, "inputs[0]: the field 'datatype' is missing"),
    ("no data", "digits", without("data"), 400, "inputs[0]: has neither 'data' nor"),
    ("name a number", "digits", one(name=1), 400, "inputs[0].name: expected text, got a whole number"),
    ("twice", "digits", {"inputs": [tensor(), tensor()]}, 400, "inputs[1].name: 'image' is given twice"),
    ("unknown input", "digits", one(name="foo"), 422, "inputs[0].name: ensemble 'digits' has no input 'foo'; it takes"),
    ("long name", "digits", one(name="x" * 8000), 422, "inputs[0].name"),
    ("missing input", "pair", {"inputs": [A]}, 422, "input 'b' is missing"),
    ("rows differ", "pair", {"inputs": [A, tensor("b", [1], "INT64", data=[1])]}, 422, "'b' has 1 rows, 'a' has 2"),
    ("unknown datatype", "digits", one(datatype="FLOAT"), 400, "inputs[0].datatype: unknown datatype 'FLOAT'"),
    ("BF16", "digits", one(datatype="BF16"), 400, "send FP32 or FP16"),
    ("lower case", "digits", one(datatype="fp32"), 400, "inputs[0].datatype"),
    ("other datatype", "digits", one(datatype="FP64"), 422, "inputs[0].datatype: FP64 given, input 'image'"),
    ("shape a number", "digits", one(shape=3), 400, "inputs[0].shape: expected a list"),
    ("shape of floats", "digits", one(shape=[1.5, 8, 8]), 400, "inputs[0].shape[0]: expected a whole number, got a decimal number"),
    ("shape of strings", "digits", one(shape=["1", 8, 8]), 400, "inputs[0].shape[0]: expected a whole number, got text"),
    ("shape of booleans", "digits", one(shape=[True, 8, 8]), 400, "inputs[0].shape[0]: expected a whole number, got true or false"),
    ("negative", "digits", one(shape=[-1, 8, 8]), 400, "inputs[0].shape: [-1, 8, 8] has a negative dimension"),
    ("two dimensions", "digits", one(shape=[1, 64]), 422, "inputs[0].shape: [1, 64] given, expected [-1, 8, 8]"),
    ("no dimensions", "digits", one(shape=[]), 422, "inputs[0].shape: [] given"),
    ("many dimensions", "digits", one(shape=[1] * 5000), 422, "inputs[0].shape"),
    ("other size", "digits", one(shape=[1, 8, 9]), 422, "inputs[0].shape: [1, 8, 9] given"),
    ("no rows", "digits", one(shape=[0, 8, 8], data=[]), 422, "inputs[0].shape: [0, 8, 8] has no elements"),
    ("overflow", "echo-FP32", {"inputs": [tensor("x", [2**32, 2**32], data=[1])]}, 413, "inputs[0].shape: [4294967296, 4294967296] has a dimension above 100000"),
    ("overflow inside", "echo-FP32", {"inputs": [tensor("x", [2, 2**63], data=[1])]}, 413, "inputs[0].shape: [2, 9223372036854775808]"),
    ("too many elements", "echo-FP32", {"inputs": [tensor("x", [1000, 101], data=[1])]}, 413, "has 101000 elements"),
    ("huge dimension", "echo-FP32", {"inputs": [tensor("x", [1, 10**400], data=[1])]}, 413, "inputs[0].shape"),
    ("too many rows", "digits", one(shape=[1001, 8, 8]), 413, "1001 rows given, at most 1000"),
    ("too few numbers", "pair", {"inputs": [{**A, "data": [1] * 5}, B]}, 400, "inputs[0].data: 5 numbers given, shape [2, 3] needs 6"),
    ("too many numbers", "pair", {"inputs": [{**A, "data": [1] * 7}, B]}, 400, "inputs[0].data: 7 numbers given"),
    ("nested otherwise", "pair", {"inputs": [{**A, "data": [[1, 2], [3, 4], [5, 6]]}, B]}, 400, "inputs[0].data: nested as [3, 2]"),
    ("ragged", "pair", {"inputs": [{**A, "data": [[1, 2, 3], [4, 5]]}, B]}, 400, "inputs[0].data: nested arrays differ"),
    ("ragged strings", "echo-BYTES", {"inputs": [tensor("x", [1, 2], "BYTES", data=[["a"], ["b", "c"]])]}, 400, "inputs[0].data: nested arrays differ"),
    ("mixed depth", "pair", {"inputs": [{**A, "data": [[1, 2, 3], 4]}, B]}, 400, "inputs[0].data[1]: expected a list, got a whole number"),
    ("data a string", "digits", one(data="AAAA"), 400, "inputs[0].data: no array given"),
    ("data null", "digits", one(data=None), 400, "inputs[0]: has neither 'data' nor"),
    ("data an object", "digits", one(data={}), 400, "inputs[0].data: no array given"),
    ("a string", "digits", one(data=[0.5] * 63 + ["1"]), 400, "inputs[0].data[63]: expected a number, got text"),
    ("a null", "digits", one(data=[None] * 64), 400, "inputs[0].data[0]: null given, expected a number"),
    ("a boolean", "digits", one(data=[True] * 64), 400, "inputs[0].data[0]: expected a number, got true or false"),
    ("NaN", "digits", one(data=[float("nan")] * 64), 400, "inputs[0].data[0]: NaN given, expected a number; the ensemble does not say"),
    ("infinity", "digits", one(data=[0.5, -float("inf")] * 32), 400, "inputs[0].data[1]: -Infinity given, expected a number"),
    ("1e400", "digits", json.dumps(one()).replace("0.5", "1e400").encode(), 400, "inputs[0].data[0]: number out of range"),
    ("above FP32", "digits", one(data=[1e39] * 64), 400, "inputs[0].data[0] 1e+39: out of range, FP32"),
    ("above FP16", "echo-FP16", {"inputs": [tensor("x", [1, 1], "FP16", data=[70000])]}, 400, "inputs[0].data[0] 70000"),
    ("above UINT8", "echo-UINT8", {"inputs": [tensor("x", [1, 2], "UINT8", data=[1, 256])]}, 400, "inputs[0].data[1] 256: out of range, UINT8 is from 0 to 255"),
    ("below UINT8", "echo-UINT8", {"inputs": [tensor("x", [1, 1], "UINT8", data=[-1])]}, 400, "inputs[0].data[0] -1"),
    ("above INT64", "pair", {"inputs": [A, {**B, "data": [2**63, 0]}]}, 400, "inputs[1].data[0] 9223372036854775808"),
    ("float for int", "pair", {"inputs": [A, {**B, "data": [1.5, 0]}]}, 400, "inputs[1].data[0]: expected a whole number, got a decimal number"),
    ("1.0 for int", "pair", {"inputs": [A, {**B, "data": [1.0, 0]}]}, 400, "inputs[1].data[0]: expected a whole number, got a decimal number"),
    ("number for boolean", "echo-BOOL", {"inputs": [tensor("x", [1, 1], "BOOL", data=[1])]}, 400, "inputs[0].data[0]: expected true or false"),
    ("number for string", "words", {"inputs": [tensor("text", [1, 1], "BYTES", data=[1])]}, 400, "inputs[0].data[0]: expected text"),
    ("lone surrogate", "words", b'{"inputs":[{"name":"text","shape":[1,1],"datatype":"BYTES","data":["\\ud800"]}]}', 400, "body: "),
    ("unknown output", "digits", {"inputs": [tensor()], "outputs": [{"name": "foo"}]}, 422, "outputs[0].name: ensemble 'digits' has no output 'foo'; it has probabilities"),
    ("output twice", "digits", {"inputs": [tensor()], "outputs": [{"name": "label"}] * 2}, 400, "outputs[1].name: 'label' is asked for twice"),
    ("output no object", "digits", {"inputs": [tensor()], "outputs": ["label"]}, 400, "outputs[0]: expected an object, got text"),
    ("binary_data a number", "digits", asking(binary_data=1), 400, "outputs[0].parameters.binary_data: 1 given, expected true or false"),
    ("classes of strings", "digits", asking(classification=2), 422, "outputs[0].parameters.classification: output 'label' is BYTES"),
    ("classes a boolean", "digits", asking(classification=True), 400, "outputs[0].parameters.classification: true given"),
    ("classes negative", "digits", asking(classification=-1), 400, "outputs[0].parameters.classification: -1 given"),
    ("output in shared memory", "digits", asking(shared_memory_region="r"), 400, "shared memory is not offered"),
    ("input in shared memory", "digits", one(parameters={"shared_memory_region": "r"}), 400, "inputs[0].parameters.shared_memory_region"),
    ("timeout a string", "digits", {"inputs": [tensor()], "parameters": {"timeout": "1"}}, 400, 'parameters.timeout: "1" given'),
    ("timeout a float", "digits", {"inputs": [tensor()], "parameters": {"timeout": 1.5}}, 400, "parameters.timeout: 1.5 given"),
    ("timeout negative", "digits", {"inputs": [tensor()], "parameters": {"timeout": -1}}, 400, "parameters.timeout: -1 given"),
    ("binary_data_output", "digits", {"inputs": [tensor()], "parameters": {"binary_data_output": "yes"}}, 400, "parameters.binary_data_output"),
    ("binary without header", "digits", sized(256), 400, "is Inference-Header-Content-Length missing?"),
]  # fmt: skip

F32 = struct.pack("<64f", *([0.5] * 64))
BINARY: list[tuple[str, str, tuple[bytes, dict[str, str]], int, str]] = [
    ("header beyond body", "digits", (b"{}", {"header_length": "3"}), 400, "3 given, the body has 2 bytes"),
    ("header negative", "digits", (b"{}", {"header_length": "-1"}), 400, "Inference-Header-Content-Length: '-1'"),
    ("header with a sign", "digits", (b"{}", {"header_length": "+2"}), 400, "is no number of bytes"),
    ("header in other digits", "digits", (b"{}", {"header_length": "²"}), 400, "is no number of bytes"),
    ("header a word", "digits", (b"{}", {"header_length": "two"}), 400, "is no number of bytes"),
    ("header empty", "digits", (b"{}", {"header_length": ""}), 400, "is no number of bytes"),
    ("header zero", "digits", (F32[1:], {"header_length": "0"}), 400, "body: 255 bytes given, input 'image' takes FP32 [-1, 8, 8]: a multiple of 256"),
    ("header in the JSON", "digits", (json.dumps(sized(256)).encode() + F32, {"header_length": "10"}), 400, "body: "),
    ("too short", "digits", binary(sized(256), F32[:-1]), 400, "256 bytes wanted, 255 are left"),
    ("size too small", "digits", binary(sized(252), F32[:-4]), 400, "inputs[0]: binary_data_size is 252, FP32 [1, 8, 8] needs 256"),
    ("left over", "digits", binary(sized(256), F32 + b"x"), 400, "body: 1 bytes are left"),
    ("left over without sizes", "digits", binary(one(), F32), 400, "body: 256 bytes are left"),
    ("size a string", "digits", binary(sized("256"), F32), 400, "inputs[0].parameters.binary_data_size"),
    ("size a boolean", "digits", binary(sized(True), F32), 400, "inputs[0].parameters.binary_data_size: true"),
    ("size negative", "digits", binary(sized(-1), F32), 400, "inputs[0].parameters.binary_data_size: -1"),
    ("size huge", "digits", binary(sized(2**70), F32), 400, "inputs[0].parameters.binary_data_size"),
    ("data as well", "digits", binary(sized(256, data=[1]), F32), 400, "inputs[0]: has both 'data' and"),
    ("BOOL of 2", "echo-BOOL", binary(sized(1, name="x", shape=[1, 1], datatype="BOOL"), b"\x02"), 400, "neither 0 nor 1"),
    ("string cut off", "words", binary(sized(3, name="text", shape=[1, 1], datatype="BYTES"), b"\x01\0\0"), 400, "cut off in its length"),
    ("string too long", "words", binary(sized(5, name="text", shape=[1, 1], datatype="BYTES"), b"\xff\xff\xff\xffa"), 400, "says 4294967295 bytes, 1 are left"),
    ("strings too many", "words", binary(sized(10, name="text", shape=[1, 1], datatype="BYTES"), b"\x01\0\0\0a" * 2), 400, "5 bytes are left after 1"),
    ("strings too few", "words", binary(sized(5, name="text", shape=[2, 1], datatype="BYTES"), b"\x01\0\0\0a"), 400, "1 BYTES elements given, the shape needs 2"),
    ("string not UTF-8", "words", binary(sized(5, name="text", shape=[1, 1], datatype="BYTES"), b"\x01\0\0\0\xff"), 400, "BYTES element 0 is not UTF-8"),
]  # fmt: skip

V1: list[tuple[str, str, Any, int, str]] = [
    ("nothing", "digits", b"", 400, "body: is empty"),
    ("neither", "digits", {}, 400, "has neither 'instances' nor 'inputs'"),
    ("both", "digits", {"instances": [], "inputs": []}, 400, "has both 'instances' and 'inputs'"),
    ("empty", "digits", {"instances": []}, 422, "instances: [0] given, expected [-1, 8, 8]"),
    ("empty objects", "pair", {"instances": []}, 422, "instances: the list is empty"),
    ("no list", "digits", {"instances": 3}, 400, "instances: no array given"),
    ("an object", "digits", {"instances": {}}, 400, "instances: expected a list, got an object"),
    ("one row unwrapped", "digits", {"instances": [[0.5] * 8] * 8}, 422, "instances: [8, 8] given, expected [-1, 8, 8]"),
    ("flat row", "digits", {"instances": [[0.5] * 64]}, 422, "instances: [1, 64] given"),
    ("a string", "digits", {"instances": [[["x"]]]}, 400, "instances[0][0][0]: expected a number, got text"),
    ("ragged", "digits", {"instances": [[[1, 2], [1]]]}, 400, "instances: nested arrays differ in length"),
    ("unknown signature", "digits", {"signature_name": "foo", "instances": []}, 422, "signature_name: 'foo' given"),
    ("signature a number", "digits", {"signature_name": 3, "instances": []}, 400, "signature_name: expected text"),
    ("missing input", "pair", {"instances": [{"a": [1, 2, 3]}]}, 422, "instances[0]: input 'b' is missing"),
    ("unknown input", "pair", {"instances": [{"a": [1, 2, 3], "b": 1, "c": 2}]}, 422, "instances[0]: ensemble 'pair' has no input 'c'"),
    ("row no object", "pair", {"instances": [{"a": [1, 2, 3], "b": 1}, 4]}, 400, "instances[1]: expected an object, got a whole number"),
    ("rows no objects", "pair", {"instances": [[1, 2, 3]]}, 400, "instances[0]: expected an object, got a list"),
    ("bad row", "pair", {"instances": [{"a": [1, 2, 3], "b": 1}, {"a": [1, 2, None], "b": 1}]}, 400, "instances[1].a[2]: null given, expected a number"),
    ("short row", "pair", {"instances": [{"a": [1, 2, 3], "b": 1}, {"a": [1, 2], "b": 1}]}, 400, "instances.a: nested arrays differ"),
    ("float for int", "pair", {"instances": [{"a": [1, 2, 3], "b": 1.5}]}, 400, "instances[0].b: expected a whole number, got a decimal number"),
    ("columns no object", "pair", {"inputs": [1]}, 422, "inputs: expected an object with a, b"),
    ("column missing", "pair", {"inputs": {"a": [[1, 2, 3]]}}, 422, "input 'b' is missing"),
    ("column unknown", "pair", {"inputs": {"c": []}}, 422, "inputs: ensemble 'pair' has no input 'c'"),
    ("columns differ", "pair", {"inputs": {"a": [[1, 2, 3]], "b": [1, 2]}}, 422, "'b' has 2 rows, 'a' has 1"),
    ("column of another shape", "pair", {"inputs": {"a": [[1, 2]], "b": [1]}}, 422, "inputs.a: [1, 2] given"),
    ("column of strings", "pair", {"inputs": {"a": [["x"]], "b": [1]}}, 400, "inputs.a[0][0]: expected a number"),
    ("no base64", "words", {"instances": [{"b64": "%%%"}]}, 400, "instances[0].b64: is not base64"),
    ("base64 a number", "words", {"instances": [{"b64": 3}]}, 400, "instances[0].b64: expected text"),
    ("base64 and more", "words", {"instances": [{"b64": "aGk=", "x": 1}]}, 400, "instances[0]: unknown field 'x'"),
    ("base64 no UTF-8", "words", {"instances": [{"b64": "/w=="}]}, 400, "instances[0].b64 is not UTF-8"),
    ("base64 no image", "digits", {"instances": [{"b64": "aGk="}]}, 400, "instances[0]: is no PNG or JPEG image"),
    ("object for numbers", "echo-FP32", {"instances": [{"b64": "aGk="}]}, 422, "instances[0]: ensemble 'echo-FP32' has no input 'b64'"),
    ("too many rows", "pair", {"instances": [{"a": [1, 2, 3], "b": 1}] * 1001}, 413, "1001 rows given"),
    ("deep", "digits", b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "nested"),
]  # fmt: skip


def check(reply: Reply, status: int, fragment: str) -> None:
    assert reply.status == status, reply.body
    error = json.loads(reply.body)
    assert set(error) == {"error"}
    assert fragment in error["error"]
    assert len(error["error"]) < 600


@pytest.mark.parametrize("way", get_args(Way))
@pytest.mark.parametrize(("name", "body", "status", "fragment"), [row[1:] for row in V2], ids=[row[0] for row in V2])
def test_a_malformed_infer_request_is_refused_by_its_field(
    name: str, body: Any, status: int, fragment: str, way: Way
) -> None:
    check(answer(body, name, way), status, fragment)


@pytest.mark.parametrize("way", get_args(Way))
@pytest.mark.parametrize(
    ("name", "sent", "status", "fragment"), [row[1:] for row in BINARY], ids=[row[0] for row in BINARY]
)
def test_malformed_binary_tensors_are_refused_by_their_field(
    name: str, sent: tuple[bytes, dict[str, str]], status: int, fragment: str, way: Way
) -> None:
    check(answer(sent[0], name, way, **sent[1]), status, fragment)


@pytest.mark.parametrize("way", get_args(Way))
@pytest.mark.parametrize(("name", "body", "status", "fragment"), [row[1:] for row in V1], ids=[row[0] for row in V1])
def test_a_malformed_predict_request_is_refused_by_its_field(
    name: str, body: Any, status: int, fragment: str, way: Way
) -> None:
    check(predict(body, name, way), status, fragment)


def test_the_table_is_as_long_as_promised() -> None:
    assert len(V2) + len(BINARY) + len(V1) >= 60


@pytest.mark.parametrize("media", ["image/png", "multipart/form-data; boundary=x", "application/x-msgpack"])
def test_a_media_type_that_infer_does_not_take_is_415(media: str) -> None:
    check(answer({"inputs": [tensor()]}, content_type=media), 415, "Content-Type: ")


@pytest.mark.parametrize("media", ["image/gif", "application/xml", "multipart/form-data; boundary=x"])
def test_a_media_type_that_predict_does_not_take_is_415(media: str) -> None:
    check(predict({"instances": []}, content_type=media), 415, "Content-Type: ")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, deflate", "compress"])
def test_a_content_encoding_that_is_not_taken_is_415(encoding: str) -> None:
    check(answer({"inputs": [tensor()]}, content_encoding=encoding), 415, "Content-Encoding: ")
