"""TensorFlow Serving's format: rows and columns, bytes and text, and what comes back."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from server.http import Reply
from tests.server.http.asking import predict
from tests.server.http.standin import softmax_model

ROWS = np.random.default_rng(5).random((3, 8, 8)).astype(np.float32)


def content(reply: Reply) -> Any:
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def test_rows_of_the_only_input_come_as_plain_values() -> None:
    predictions = content(predict({"signature_name": "serving_default", "instances": ROWS.tolist()}))["predictions"]
    expected = softmax_model({"image": ROWS}, 2)
    assert [row["label"] for row in predictions] == expected["label"].tolist()
    given = np.array([row["probabilities"] for row in predictions], np.float32)
    assert np.array_equal(given, expected["probabilities"])


def test_rows_may_name_the_only_input() -> None:
    named = content(predict({"instances": [{"image": row} for row in ROWS.tolist()]}))
    assert named == content(predict({"instances": ROWS.tolist()}))


def test_rows_of_two_inputs_are_objects() -> None:
    rows = [{"a": [1, 2, 3], "b": 4}, {"b": 5, "a": [0, 0, 0.5]}]
    assert content(predict({"instances": rows}, "pair")) == {"predictions": [10.0, 5.5]}


def test_columns_are_answered_in_columns() -> None:
    columns = {"a": [[1, 2, 3], [0, 0, 0.5]], "b": [4, 5]}
    assert content(predict({"inputs": columns}, "pair")) == {"outputs": [10.0, 5.5]}
    answer = content(predict({"inputs": ROWS.tolist()}))["outputs"]
    assert answer.keys() == {"probabilities", "label"}
    assert len(answer["label"]) == 3


def test_columns_may_name_the_only_input() -> None:
    assert content(predict({"inputs": {"image": ROWS.tolist()}})) == content(predict({"inputs": ROWS.tolist()}))


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [["hi"], ["größer"]]},
        {"instances": [b64(b"hi"), b64("größer".encode())]},
        {"instances": [{"text": ["hi"]}, {"text": ["größer"]}]},
        {"instances": [{"text": b64(b"hi")}, {"text": b64("größer".encode())}]},
        {"inputs": {"text": [["hi"], ["größer"]]}},
        {"inputs": [b64(b"hi"), b64("größer".encode())]},
    ],
)
def test_text_comes_as_strings_or_as_base64(body: Any) -> None:
    answer = content(predict(body, "words"))
    assert answer.get("predictions", answer.get("outputs")) == [2.0, 6.0]


def test_a_text_body_is_one_row() -> None:
    answer = content(predict("größer".encode(), "words", content_type="text/plain; charset=UTF-8"))
    assert answer == {"predictions": [6.0]}


def test_a_text_body_in_another_charset_is_415() -> None:
    assert predict(b"hi", "words", content_type="text/plain; charset=latin-1").status == 415


def test_a_text_body_that_is_no_utf8_is_400() -> None:
    assert predict(b"\xff", "words", content_type="text/plain").status == 400


def test_a_text_body_above_the_inputs_length_is_413() -> None:
    reply = predict(b"x" * 101, "words", content_type="text/plain")
    assert reply.status == 413
    assert b"101 characters given, input 'text' takes 100" in reply.body


@pytest.mark.parametrize("media", ["text/plain", "image/png"])
@pytest.mark.parametrize("name", ["pair", "echo-FP32"])
def test_a_body_that_the_ensemble_does_not_declare_is_415(name: str, media: str) -> None:
    reply = predict(b"hi", name, content_type=media)
    assert reply.status == 415
    assert media.encode() in reply.body


def test_curl_d_without_a_content_type_is_taken_as_json() -> None:
    body = {"instances": [{"a": [1, 2, 3], "b": 4}]}
    assert predict(body, "pair", content_type="application/x-www-form-urlencoded").status == 200


def test_the_version_is_named_in_a_header() -> None:
    assert (b"tutti-version", b"2") in predict({"instances": ROWS.tolist()}).headers
