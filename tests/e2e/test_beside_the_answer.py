"""Detectors and extras over HTTP: what is answered unasked, what only when asked, and who is told of a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from tests.e2e.process import ServerProcess, serving
from tests.side_models import detector, distance, extra, fragile, publish_with, run, score, tokens

NEAR, TOKENS, BRITTLE = distance(), tokens(), fragile()
DETECTORS = [(detector("near", NEAR, family="autoencoder"), NEAR), (detector("brittle", BRITTLE, "y"), BRITTLE)]
EXTRAS = [
    (extra("transcript", TOKENS, "tokens"), TOKENS),
    (extra("risky", BRITTLE, "y", datatype="FP32", shape=(-1, 1)), BRITTLE),
]
CALM, WILD = [[1.0, 1.0, 0.0]], [[9.0, 0.0, 0.0]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root: Path = tmp_path_factory.mktemp("models")
    publish_with(root, DETECTORS, EXTRAS, ood_threshold=0.7)
    with serving(root) as running:
        running.wait_ready()
        yield running


def question(rows: list[list[float]], *outputs: str) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(rows), 3], "data": rows}
    return {"inputs": [tensor], **({"outputs": [{"name": name} for name in outputs]} if outputs else {})}


def infer(server: ServerProcess, rows: list[list[float]], *outputs: str) -> dict[str, list[Any]]:
    answer = server.json("POST", "/v2/models/tiny/infer", question(rows, *outputs))
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_the_score_and_the_gate_are_answered_unasked(server: ServerProcess) -> None:
    given = infer(server, CALM)
    assert list(given) == ["probabilities", "label", "ood_score", "in_distribution"]
    expected = score(DETECTORS, {"x": np.array(CALM, np.float32)})
    np.testing.assert_allclose(given["ood_score"], expected, atol=1e-6)
    assert given["in_distribution"] == [True]
    rows = server.json("POST", "/v1/models/tiny:predict", {"instances": CALM})["predictions"]
    assert (rows[0]["ood_score"], rows[0]["in_distribution"]) == (pytest.approx(expected[0]), True)


def test_a_failing_detector_fails_no_answer_and_is_counted(server: ServerProcess) -> None:
    given = infer(server, WILD)
    assert (given["ood_score"], given["in_distribution"]) == ([1.0], [False])
    metrics = server.request("GET", "/metrics")[2].decode()
    assert 'tutti_detector_failures_total{detector="brittle",ensemble="tiny",reason="invalid_input"' in metrics
    assert "tutti_member_failures_total{" not in metrics
    assert 'tutti_ood_score_count{ensemble="tiny",version="1"}' in metrics


def test_an_extra_is_given_to_those_who_ask_in_json_and_binary(server: ServerProcess) -> None:
    expected = run(TOKENS, "tokens", {"x": np.array(CALM, np.float32)})
    assert infer(server, CALM, "transcript", "label")["transcript"] == expected.ravel().tolist()
    client = triton.InferenceServerClient(server.address)
    tensor = triton.InferInput("x", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.array(CALM, np.float32))
    answer = client.infer("tiny", [tensor], outputs=[triton.InferRequestedOutput("transcript")])
    np.testing.assert_array_equal(answer.as_numpy("transcript"), expected)
    client.close()


def test_a_failing_extra_fails_the_requests_that_ask_for_it_and_no_others(server: ServerProcess) -> None:
    bodies = [question(WILD if k % 4 == 0 else CALM, "label", *(["risky"] if k % 2 == 0 else [])) for k in range(32)]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda body: _post(server, body), bodies))
    assert [status for status, _ in answers] == [422 if k % 4 == 0 else 200 for k in range(32)]
    assert "extra 'risky'" in answers[0][1]
    assert "tutti_extra_failures_total{" in server.request("GET", "/metrics")[2].decode()


def _post(server: ServerProcess, body: object) -> tuple[int, str]:
    status, _, content = server.request("POST", "/v2/models/tiny/infer", json.dumps(body))
    return status, content.decode()


def test_metadata_and_configuration_list_them(server: ServerProcess) -> None:
    metadata = server.json("GET", "/v2/models/tiny")
    shapes = {output["name"]: (output["datatype"], output["shape"]) for output in metadata["outputs"]}
    assert (shapes["ood_score"], shapes["in_distribution"]) == (("FP32", [-1]), ("BOOL", [-1]))
    assert shapes["transcript"] == ("INT64", [-1, 3])
    ensemble = metadata["ensemble"]
    assert [one["name"] for one in ensemble["detectors"]] == ["near", "brittle"]
    assert ensemble["detectors"][0]["family"] == "autoencoder"
    assert (ensemble["ood_threshold"], ensemble["extras"]) == (0.7, ["transcript", "risky"])
    config = server.json("GET", "/v2/models/tiny/config")
    assert {"name": "transcript", "data_type": "TYPE_INT64", "dims": [3]} in config["output"]
