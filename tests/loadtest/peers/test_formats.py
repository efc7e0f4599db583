"""Bodies: what goes out is what each server reads, and answers come back as arrays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from loadtest.peers.errors import WrongAnswerError
from loadtest.peers.formats import OPEN_INFERENCE, OPEN_INFERENCE_BINARY, keyed, raw

ROWS = np.array([[0.1, 0.25], [0.5, 1.0]], dtype=np.float32)


def test_json_numbers_are_as_short_as_they_were_drawn() -> None:
    request = keyed("/predict").request("tiny", ROWS)
    assert request.body == b'{"instances":[[0.1,0.25],[0.5,1.0]]}'


def test_the_open_inference_body_asks_for_the_probabilities_alone() -> None:
    request = OPEN_INFERENCE.request("tiny", ROWS)
    body = json.loads(request.body)
    assert request.path == "/v2/models/tiny/infer"
    assert body["inputs"][0] | {"data": []} == {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": []}
    assert body["inputs"][0]["data"] == [0.1, 0.25, 0.5, 1.0]
    assert body["outputs"] == [{"name": "probabilities"}]


def test_the_binary_body_is_header_and_tensor() -> None:
    request = OPEN_INFERENCE_BINARY.request("tiny", ROWS)
    length = int(request.headers["Inference-Header-Content-Length"])
    assert json.loads(request.body[:length])["inputs"][0]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(request.body[length:], "<f4").tolist() == ROWS.ravel().tolist()


def test_binary_answers_are_read_behind_their_header() -> None:
    header = json.dumps({"outputs": [{"name": "probabilities", "shape": [2, 2]}]}).encode()
    found = OPEN_INFERENCE_BINARY.answer(header + ROWS.tobytes(), {"inference-header-content-length": str(len(header))})
    assert found.tolist() == ROWS.tolist()


def test_json_answers_are_read() -> None:
    tensor = {"name": "probabilities", "shape": [2, 2], "data": ROWS.ravel().tolist()}
    assert OPEN_INFERENCE.answer(json.dumps({"outputs": [tensor]}).encode(), {}).tolist() == ROWS.tolist()
    assert keyed("/", "x", None).answer(b"[[1,2]]", {}).tolist() == [[1, 2]]
    assert raw("/").answer(np.arange(10, dtype="<f4").tobytes(), {}).shape == (1, 10)


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"outputs":[]}', b"[1,2", b'{"outputs":[{"name":"label"}]}'])
def test_an_answer_without_probabilities_is_refused(body: bytes) -> None:
    with pytest.raises(WrongAnswerError, match="no probabilities in the answer"):
        OPEN_INFERENCE.answer(body, {})
