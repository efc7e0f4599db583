"""JSON that people send: missing numbers, nulls for what is absent, byte order marks, base64 of every kind."""

from __future__ import annotations

import base64
import json
from time import process_time
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.http.codec.lenient_json import BOM, as_json
from tests.server.http.asking import Way, answer, predict, tensor

BOTH = pytest.mark.parametrize("way", get_args(Way))
NAN, INF = float("nan"), float("inf")
KINDS = pytest.mark.parametrize("kind", ["FP16", "FP32", "FP64"])


def body_of(x: str, one: str = "[1]", kind: str = "FP32") -> bytes:
    text = (
        f'{{"inputs":[{{"name":"x","datatype":"{kind}","shape":[1,3],"data":{x}}},'
        f'{{"name":"one","datatype":"{kind}","shape":[1,1],"data":{one}}}]}}'
    )
    return text.encode()


def sentence(reply: Any) -> str:
    assert reply.status == 400, reply.body
    found: str = json.loads(reply.body)["error"]
    return found


@BOTH
@KINDS
@pytest.mark.parametrize(
    "x",
    ["[1.5,NaN,2]", "[1.5,null,2]", '[1.5,"NaN",2]', "[[1.5,NaN,2]]", "[[1.5,null,2]]", "[ 1.5 , NaN , 2 ]"],
)
def test_a_missing_number_is_nan_where_the_input_allows_it(x: str, kind: str, way: Way) -> None:
    reply = answer(body_of(x, kind=kind), f"gaps-{kind}", way)
    assert reply.status == 200, reply.body
    assert json.loads(reply.body)["outputs"][0]["data"] == [1.5, None, 2]


@BOTH
def test_infinities_are_what_they_say(way: Way) -> None:
    asked = {"parameters": {"binary_data_output": True}}
    body = b"{" + json.dumps(asked).encode()[1:-1] + b"," + body_of('[Infinity,-Infinity,"-Infinity"]')[1:]
    reply = answer(body, "gaps-FP32", way)
    assert reply.status == 200, reply.body
    numbers = np.frombuffer(reply.body, np.float32, 3, len(reply.body) - 16)
    assert numbers.tolist() == [INF, -INF, -INF]


@BOTH
def test_python_writes_what_is_read(way: Way) -> None:
    x = [NAN, INF, 1.0]
    reply = answer(body_of(json.dumps(x), json.dumps([NAN]), "FP64"), "gaps-FP64", way)
    assert [output["data"] for output in json.loads(reply.body)["outputs"]] == [[None, None, 1.0], [None]]
    rows = {"instances": [{"x": x, "one": NAN}, {"x": [1, 2, None], "one": 2}]}
    found = json.loads(predict(rows, "gaps-FP64", way).body)["predictions"]
    assert found == [{"y": [None, None, 1.0], "z": [None]}, {"y": [1.0, 2.0, None], "z": [2.0]}]
    columns = {"inputs": {"x": [x], "one": [None]}}
    assert json.loads(predict(columns, "gaps-FP64", way).body)["outputs"]["z"] == [[None]]


@BOTH
def test_a_long_tensor_with_gaps_is_read_too(way: Way) -> None:
    rows = [[n, NAN if n % 7 else None, 0.5] for n in range(900)]
    found = predict({"instances": [{"x": row, "one": 1} for row in rows]}, "gaps-FP32", way)
    assert [row["y"] for row in json.loads(found.body)["predictions"]] == [[n, None, 0.5] for n in range(900)]


@BOTH
@pytest.mark.parametrize(("word", "told"), [("NaN", "NaN"), ("null", "null"), ('"Infinity"', "Infinity")])
def test_a_missing_number_is_refused_by_its_place_where_the_input_does_not_allow_it(
    word: str, told: str, way: Way
) -> None:
    data = ",".join(["0.5"] * 63)
    body = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,8,8],"data":[%b,%b]}]}' % (
        data.encode(),
        word.encode(),
    )
    expected = f"inputs[0].data[63]: {told} given, expected a number; the ensemble does not say that this input takes"
    assert sentence(answer(body, "digits", way)).startswith(expected)


@BOTH
@pytest.mark.parametrize(
    ("x", "fragment"),
    [
        ('[1,"nan",2]', "inputs[0].data[1]: expected a number, got text"),
        ('[1,"x",NaN]', "inputs[0].data[1]: "),
        ("[1,{},null]", "inputs[0].data[1]: expected a number, got an object"),
        ("[1,NaN5,2]", "body: JSON is malformed"),
        ("[1,+Infinity,2]", "body: JSON is malformed"),
        ("[1,nan,2]", "body: JSON is malformed"),
        ("[NaN,NaN]", "inputs[0].data: 2 numbers given"),
        ("NaN", "inputs[0].data: no array given"),
        ("[1,null,1e39]", "inputs[0].data[2] 1e+39: out of range"),
    ],
)
def test_what_is_no_missing_number_stays_wrong(x: str, fragment: str, way: Way) -> None:
    assert fragment in sentence(answer(body_of(x), "gaps-FP32", way))


@BOTH
@pytest.mark.parametrize(
    ("body", "name", "fragment"),
    [
        ('{"inputs":[{"name":"x","datatype":"INT32","shape":[1,1],"data":[NaN]}]}', "echo-INT32", "INT32 has none"),
        ('{"inputs":[{"name":"x","datatype":"BOOL","shape":[1,1],"data":[NaN]}]}', "echo-BOOL", "BOOL has none"),
        (
            '{"inputs":[{"name":"text","datatype":"BYTES","shape":[1,1],"data":[NaN]}]}',
            "words",
            "NaN or Infinity given",
        ),
        ('{"id":NaN,"inputs":[]}', "digits", "inputs: the list is empty"),
        ('{"inputs":[{"name":"x","datatype":"INT32","shape":[1,1],"data":[null]}]}', "echo-INT32", "got null"),
    ],
)
def test_literals_mean_nothing_but_among_floats(body: str, name: str, fragment: str, way: Way) -> None:
    assert fragment in sentence(answer(body.encode(), name, way))


@BOTH
def test_an_id_is_no_literal(way: Way) -> None:
    body = json.dumps({"id": NAN, "inputs": [tensor()]}).encode()
    assert sentence(answer(body, "digits", way)) == "id: NaN or Infinity given, expected text"


@BOTH
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"name": NAN}, "inputs[0].name: ensemble 'digits' has no input NaN; it takes image"),
        ({"datatype": -INF}, "inputs[0].datatype: unknown datatype -Infinity, expected"),
        ({"shape": [INF, 8, 8]}, "inputs[0].shape[0]: expected a whole number, got text, NaN or Infinity"),
        ({"parameters": {"binary_data_size": NAN}}, "binary_data_size: NaN given, expected a number of bytes"),
    ],
)
def test_a_literal_in_another_place_is_told_as_it_was_written(place: dict[str, Any], message: str, way: Way) -> None:
    reply = answer(json.dumps({"inputs": [{**tensor(), **place}]}).encode(), "digits", way)
    assert reply.status in (400, 422)
    assert message in json.loads(reply.body)["error"]


@BOTH
def test_texts_with_such_words_in_them_are_left_alone(way: Way) -> None:
    text = 'NaN [NaN] "Infinity\\'
    rows = [{"x": [NAN, 1, 2], "one": 1}]
    body = json.dumps({"instances": rows, "note": text}).encode()
    assert predict(body, "gaps-FP32", way).status == 200
    asked = {"instances": [[text]], "note": NAN}
    assert json.loads(predict(asked, "words", way).body)["predictions"] == [float(len(text))]


@BOTH
def test_null_is_as_if_absent(way: Way) -> None:
    one = {**tensor(), "parameters": {"binary_data_size": None, "shared_memory_region": None}}
    asked = {
        "id": None,
        "parameters": {"timeout": None, "binary_data_output": None, "priority": None},
        "inputs": [one],
        "outputs": [
            {"name": "probabilities", "parameters": {"binary_data": None, "classification": None}},
            {"name": "label", "parameters": None},
        ],
    }
    assert answer(asked, "digits", way).body == answer({"inputs": [tensor()]}, "digits", way).body
    assert answer({**asked, "parameters": None, "outputs": None}, "digits", way).status == 200
    row = [[0.5] * 8] * 8
    plain = predict({"instances": [row]}, "digits", way)
    assert predict({"signature_name": None, "instances": [row], "inputs": None}, "digits", way).body == plain.body
    assert predict({"instances": None, "inputs": [row]}, "digits", way).status == 200


@BOTH
def test_a_byte_order_mark_is_passed_over(way: Way) -> None:
    body = json.dumps({"inputs": [tensor()]}).encode()
    assert answer(BOM + body, "digits", way).body == answer(body, "digits", way).body
    rows = json.dumps({"instances": ["some text"]}).encode()
    assert predict(BOM + rows, "words", way).body == predict(rows, "words", way).body
    text = predict(BOM + b"some text", "words", way, content_type="text/plain")
    assert text.body == predict(b"some text", "words", way, content_type="text/plain").body


@BOTH
def test_base64_of_either_alphabet_wrapped_or_unpadded_is_read(way: Way) -> None:
    raw = "ÿþ??>>~~ a text that is long enough to be wrapped by those who wrap after 76 characters".encode()
    safe, plain = base64.urlsafe_b64encode(raw).decode(), base64.b64encode(raw).decode()
    assert "-" in safe + base64.urlsafe_b64encode(b"\xfb\xff").decode()
    wanted = predict({"instances": [{"b64": plain}]}, "words", way)
    assert wanted.status == 200
    for text in (safe, safe.rstrip("="), plain.rstrip("="), base64.encodebytes(raw).decode(), f" {plain}\r\n"):
        assert predict({"instances": [{"b64": text}]}, "words", way).body == wanted.body
    for wrong in ("%%%%", "a", "é===", "aGk*"):
        assert "is not base64" in sentence(predict({"instances": [{"b64": wrong}]}, "words", way))


@BOTH
@pytest.mark.parametrize("media", ["text/json", "Text/JSON; charset=utf-8", "application/json;charset=UTF-8"])
def test_json_has_several_names(media: str, way: Way) -> None:
    assert answer({"inputs": [tensor()]}, "digits", way, content_type=media).status == 200
    assert predict({"instances": [[[0.5] * 8] * 8]}, "digits", way, content_type=media).status == 200


@BOTH
def test_plain_numbers_are_rows_of_one(way: Way) -> None:
    for rows in ([0.5, 1.5], [[0.5], [1.5]]):
        asked = {"inputs": {"x": [[1, 2, 3]] * 2, "one": rows}}
        assert json.loads(predict(asked, "gaps-FP32", way).body)["outputs"]["z"] == [[0.5], [1.5]]
    assert json.loads(predict({"instances": ["a", "bc"]}, "words", way).body)["predictions"] == [1.0, 2.0]
    assert predict({"instances": [0.5]}, "digits", way).status == 422


@BOTH
def test_floats_have_the_fewest_digits_whatever_the_layout(way: Way) -> None:
    x = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    one = np.float32(0.3)
    rows = {"instances": [{"x": row.tolist(), "one": float(one)} for row in x]}
    columns = {"inputs": {"x": x.tolist(), "one": [float(one)] * 4}}
    for asked in (rows, columns):
        text = predict(asked, "gaps-FP32", way).body.decode()
        assert "0.3]" in text
        assert all(str(value) in text for value in x.reshape(-1))
        assert json.loads(text)


@BOTH
@pytest.mark.parametrize("count", [1, 3])
def test_a_body_may_be_the_tensor_alone(count: int, way: Way) -> None:
    x = np.random.default_rng(3).normal(size=(count, 8, 8)).astype(np.float32)
    wanted = answer(
        {
            "inputs": [tensor(shape=[count, 8, 8], data=x.reshape(-1).tolist())],
            "parameters": {"binary_data_output": True},
        },
        "digits",
        way,
    )
    raw = answer(x.tobytes(), "digits", way, header_length="0", content_type="application/octet-stream")
    assert (raw.status, raw.headers, raw.body) == (200, wanted.headers, wanted.body)


@BOTH
def test_a_body_may_be_the_text_alone(way: Way) -> None:
    reply = answer("ein Wörtchen".encode(), "words", way, header_length="0")
    assert np.frombuffer(reply.body[-4:], np.float32).tolist() == [12.0]


@BOTH
@pytest.mark.parametrize(
    ("body", "name", "status", "fragment"),
    [
        (b"", "digits", 400, "body: is empty"),
        (b"x" * 255, "digits", 400, "a multiple of 256 bytes"),
        (b"x" * 16, "pair", 422, "has 2 inputs"),
        (b"\xff", "words", 400, "not UTF-8"),
        (b"\x02", "echo-BOOL", 400, "neither 0 nor 1"),
    ],
)
def test_a_body_that_is_no_tensor_alone_is_refused(
    body: bytes, name: str, status: int, fragment: str, way: Way
) -> None:
    reply = answer(body, name, way, header_length="0")
    assert reply.status == status
    assert fragment in json.loads(reply.body)["error"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_what_python_writes_is_json_behind(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    plain = as_json(raw)
    if plain is None:
        return
    found = json.loads(plain, parse_constant=lambda word: pytest.fail(f"{word} is left"))
    assert repr(_words(found)) == repr(json.loads(raw, parse_constant=str))


@pytest.mark.parametrize(
    "body",
    [b'"' * 250_000, b'"a"' * 80_000, b'"\\"' * 80_000, b'"' + b"\\" * 250_000, b"NaN," * 62_500, b"[" * 250_000],
    ids=["quotes", "strings", "escapes", "backslashes", "literals", "brackets"],
)
def test_what_is_no_json_is_looked_at_again_in_little_time(body: bytes) -> None:
    started = process_time()
    as_json(body + b"NaN")
    assert process_time() - started < 0.1


def _words(value: Any) -> Any:
    """The value with the strings for literals as their words."""
    if isinstance(value, str):
        return value.removeprefix("\ufdd0") if value[1:] in ("NaN", "Infinity", "-Infinity") else value
    if isinstance(value, list):
        return [_words(each) for each in value]
    return {_words(key): _words(each) for key, each in value.items()} if isinstance(value, dict) else value
