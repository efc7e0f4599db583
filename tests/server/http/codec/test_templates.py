"""Requests that are like an earlier one are decoded to the same as if they were read in full, or refused as then."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.errors import ServerError
from server.http.codec import templates
from server.http.codec.limits import Limits
from server.http.codec.numbers import many
from server.http.codec.oip.request import decode_request
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature, signature_of
from server.http.codec.tensors import DATATYPES
from tests.server.http.standin import all_servables

LIMITS = Limits()


def signature(name: str) -> Signature:
    standins: Any = {servable.name: servable for servable in all_servables()}
    return signature_of(standins[name])


def body_of(data: object, *, dumps: Any = json.dumps, **more: object) -> bytes:
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 8, 8], "data": data}
    text: str = dumps({"inputs": [tensor], **more})
    return text.encode()


def compact(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def taught(first: bytes) -> Signature:
    """A signature that has seen one request."""
    sign = signature("digits")
    decode_request(first, None, sign, LIMITS)
    return sign


def same(given_: tuple[InferRequest, dict[str, Any]], expected: InferRequest) -> None:
    request, feeds = given_
    assert feeds.keys() == expected.feeds.keys()
    for name, array in feeds.items():
        assert array.dtype == expected.feeds[name].dtype
        np.testing.assert_array_equal(array, expected.feeds[name])
    assert (request.rows, request.outputs, request.wanted, request.timeout_s) == (
        expected.rows, expected.outputs, expected.wanted, expected.timeout_s,
    )  # fmt: skip


numbers = st.one_of(
    st.floats(-1e6, 1e6), st.integers(-(2**70), 2**70), st.floats(width=32, allow_nan=False, allow_infinity=False)
)


@settings(max_examples=150, deadline=None)
@given(data=st.lists(numbers, min_size=64, max_size=64), dense=st.booleans())
def test_what_is_alike_is_decoded_as_in_full(data: list[float], dense: bool) -> None:
    dumps = compact if dense else json.dumps
    more: dict[str, Any] = {"outputs": [{"name": "probabilities"}], "parameters": {"timeout": 1000}}
    sign = taught(body_of([0.5] * 64, dumps=dumps, **more))
    body = body_of(data, dumps=dumps, **more)
    found = templates.decoded(body, None, sign)
    assert found is not None
    same(found, decode_request(body, None, signature("digits"), LIMITS))


@pytest.mark.parametrize(
    "data",
    [
        [0.5] * 63,
        [0.5] * 65,
        [*[0.5] * 63, "1"],
        [*[0.5] * 63, True],
        [*[0.5] * 63, None],
        [*[0.5] * 63, 1e39],
        [[0.5] * 8] * 8,
        "0.5",
        [],
    ],
    ids=["short", "long", "string", "bool", "null", "range", "nested", "text", "empty"],
)
def test_anything_but_as_many_numbers_is_left_to_the_full_way(data: object) -> None:
    assert templates.decoded(body_of(data), None, taught(body_of([0.5] * 64))) is None


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"inputs":[{"data":[1,2],"name":"image","datatype":"FP32","shape":[1,8,8]}]',
        b'{"data":[1,2]}',
        b'"data":[1]',
        b"",
        b"]",
        b'"data":',
    ],
)
def test_broken_bodies_are_left_to_the_full_way(wrong: bytes) -> None:
    assert templates.decoded(wrong, None, taught(body_of([0.5] * 64))) is None


def test_a_second_data_key_is_never_taken_for_the_inputs_own() -> None:
    data = compact([0.5] * 64)
    decoy = '{"id":"","parameters":{"data":%s},"inputs":[{"name":"image","datatype":"FP32","shape":[1,8,8],"data":%s}]}'
    first = (decoy % (data, data)).encode()
    sign = taught(first)
    other = (decoy % (compact([0.25] * 64), data)).encode()
    found = templates.decoded(other, None, sign)
    assert found is None, "the numbers of a parameter were taken for the input's"
    escaped = b'{"x":{"data":%s},"inputs":[{"name":"image","datatype":"FP32","shape":[1,8,8],"d\\u0061ta":%s}]}'
    sign = taught(escaped % (data.encode(), data.encode()))
    assert not sign.templates


def test_requests_with_an_id_are_not_kept() -> None:
    sign = signature("digits")
    for number in range(3):
        decode_request(body_of([0.5] * 64, id=str(number)), None, sign, LIMITS)
    assert not sign.templates


def test_as_many_as_wanted_are_kept_and_no_more() -> None:
    sign = signature("digits")
    for timeout in range(1, 3 * templates.KEPT):
        decode_request(body_of([0.5] * 64, parameters={"timeout": timeout}), None, sign, LIMITS)
        assert len(sign.templates) <= templates.KEPT


def binary(rows: int, values: NDArray[Any], pad: str = "") -> tuple[bytes, int]:
    raw = values.astype(np.float32).tobytes()
    tensor = {
        "name": "image", "datatype": "FP32", "shape": [rows, 8, 8], "parameters": {"binary_data_size": len(raw)}
    }  # fmt: skip
    head = compact({"inputs": [tensor]}).encode() + pad.encode()
    return head + raw, len(head)


@pytest.mark.parametrize("pad", ["", " ", "  ", "   "])
def test_binary_requests_alike_are_decoded_as_in_full(pad: str) -> None:
    rng = np.random.default_rng(0)
    first, length = binary(3, rng.random((3, 64)), pad)
    sign = signature("digits")
    decode_request(first, length, sign, LIMITS)
    body, length = binary(3, rng.random((3, 64)), pad)
    found = templates.decoded(body, length, sign)
    assert found is not None
    assert all(array.flags.aligned for array in found[1].values())
    same(found, decode_request(body, length, signature("digits"), LIMITS))
    for wrong in (body[:-1], body + b"\0"):
        assert templates.decoded(wrong, length, sign) is None


@pytest.mark.parametrize("pad", ["", " ", "  ", "   "])
@pytest.mark.parametrize("odd", [None, b"", b"{}", "short", "long", "other"])
def test_binary_requests_decoded_together_are_decoded_as_one_by_one(pad: str, odd: bytes | str | None) -> None:
    rng = np.random.default_rng(0)
    sign = signature("digits")
    first, length = binary(1, rng.random((1, 64)), pad)
    decode_request(first, length, sign, LIMITS)
    bodies = [binary(1, rng.random((1, 64)), pad)[0] for _ in range(4)]
    wrong = {"short": bodies[0][:-4], "long": bodies[0] + b"\0\0\0\0", "other": b" " + bodies[0][1:]}
    if odd is not None:
        bodies.insert(2, wrong[odd] if isinstance(odd, str) else odd)
    found = templates.all_binary(bodies, length, sign)
    alone = [templates.decoded(body, length, sign) for body in bodies]
    assert (
        [one is None for one in found]
        == [one is None for one in alone]
        == [body in (odd, *wrong.values()) for body in bodies]
    )
    for one, other in zip(found, alone, strict=True):
        if one is not None and other is not None:
            assert one[0] is other[0]
            np.testing.assert_array_equal(one[1]["image"], other[1]["image"], strict=True)
            assert one[1]["image"].flags.aligned


@pytest.mark.parametrize("exponent", [-40, -8, 0, 7, 38])
def test_many_numbers_are_read_as_by_pythons_own_parser(exponent: int) -> None:
    scale = np.random.default_rng(exponent + 40).uniform(-3, 3, 3000)
    values = (scale.astype(np.float64) * 10.0**exponent).tolist()
    raw = compact(values).encode()
    found = many(raw, DATATYPES["FP32"])
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(json.loads(raw), np.float32))


@pytest.mark.parametrize(
    "raw",
    [b"[1,[2]]", b"[1,true]", b'[1,"2"]', b"[1,null]", b"[1e39]", b"[-1e39]", b"[1e400]", b"[01]", b"[1", b"[1]]"],
)
def test_many_numbers_leave_what_is_none_to_others(raw: bytes) -> None:
    assert many(raw, DATATYPES["FP32"]) is None


@pytest.mark.parametrize("kind", ["FP16", "FP32", "FP64"])
def test_a_long_array_says_what_is_wrong_as_a_short_one_does(kind: str) -> None:
    from server.http.codec.json_arrays import array_of

    with pytest.raises(ServerError, match="x"):
        array_of(compact([*[1.0] * 1000, "a"]).encode(), DATATYPES[kind], "x")
    if kind != "FP64":
        with pytest.raises(ServerError, match=r"x\[1000\].*out of range"):
            array_of(compact([*[1.0] * 1000, 1e300]).encode(), DATATYPES[kind], "x")


WRONG_DATA = [
    [0.5] * 63, [0.5] * 65, [*[0.5] * 63, "1"], [*[0.5] * 63, True], [*[0.5] * 63, None], [*[0.5] * 63, 1e39],
    [[0.5] * 8] * 8, "0.5", [],
]  # fmt: skip
WRONG_TEXTS = [
    b'["a' + b",1" * 63 + b'"]', b"[" + b"1," * 63 + b"]", b"[" + b",1" * 63 + b"]", b"[1 2" + b",1" * 62 + b"]",
    b"[{" + b"1," * 63 + b"1]", b"[[" + b"1," * 63 + b"1]", b"x[" + b"1," * 63 + b"1]", b"  [" + b"1," * 63 + b"1]",
    b"[01" + b",1" * 63 + b"]", b"[NaN" + b",1" * 63 + b"]", b"[1e400" + b",1" * 63 + b"]", b'"' + b",1" * 63 + b'"]',
]  # fmt: skip


def with_text(raw: bytes) -> bytes:
    return body_of([]).replace(b"[]", raw)


BAD = [body_of(data) for data in WRONG_DATA] + [with_text(raw) for raw in WRONG_TEXTS] + [b"", b"]", b'"data":', b"{}"]


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(numbers, min_size=64, max_size=64), min_size=1, max_size=8),
    bad=st.lists(st.tuples(st.integers(0, 8), st.sampled_from(BAD)), max_size=2),
    dense=st.booleans(),
)
def test_requests_decoded_together_are_decoded_as_one_by_one(
    rows: list[list[float]], bad: list[tuple[int, bytes]], dense: bool
) -> None:
    dumps = compact if dense else json.dumps
    sign = taught(body_of([0.5] * 64, dumps=dumps))
    bodies = [body_of(row, dumps=dumps) for row in rows]
    for place, body in bad:
        bodies.insert(place, body)
    alone = [templates.decoded(body, None, sign) for body in bodies]
    found = templates.all_decoded(bodies, sign)
    assert [one is None for one in found] == [one is None for one in alone]
    for one, other in zip(found, alone, strict=True):
        if one is not None and other is not None:
            assert one[0] is other[0]
            np.testing.assert_array_equal(one[1]["image"], other[1]["image"], strict=True)


@pytest.mark.parametrize("pair", [(63, 65), (62, 66), (1, 127)])
def test_numbers_never_move_from_one_request_to_the_next(pair: tuple[int, int]) -> None:
    sign = taught(body_of([0.5] * 64))
    short, long = pair
    bodies = [body_of([1.0] * 64), body_of([2.0] * short), body_of([3.0] * long), body_of([4.0] * 64)]
    found = templates.all_decoded(bodies, sign)
    assert [one if one is None else one[1]["image"].max() for one in found] == [1.0, None, None, 4.0]


def test_requests_of_several_kinds_are_each_decoded_as_their_own() -> None:
    sign = taught(body_of([0.5] * 64))
    two = {"name": "image", "datatype": "FP32", "shape": [2, 8, 8], "data": [0.0] * 128}
    other = json.dumps({"inputs": [two]}).encode()
    decode_request(other, None, sign, LIMITS)
    found = templates.all_decoded([body_of([1.0] * 64), other, body_of([2.0] * 64), other, body_of([3.0] * 64)], sign)
    shapes = [None if one is None else one[1]["image"].shape for one in found]
    assert shapes == [(1, 8, 8), (2, 8, 8), (1, 8, 8), (2, 8, 8), (1, 8, 8)]
