"""Promotion, rollback, labels and the control API: which version answers, on a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_repo.cli.repo import main as repo
from tests.e2e.process import TOKEN, ServerProcess, serving
from tests.graphs import coded, linear, nan_above, raising_above, softmax_linear
from tests.repositories import Spec, publish

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [10.0]}]})


def publish_coded(root: Path, version: int) -> None:
    publish(root, "coded", {"a": coded(version)}, version=version)


def command(root: Path, *words: str) -> None:
    assert repo([*words, "--repository", str(root)]) == 0


def value(server: ServerProcess, path: str = "/v2/models/coded/infer") -> tuple[str, float]:
    status, _, content = server.request("POST", path, BODY)
    assert status == 200, content
    answer = json.loads(content)
    return answer["model_version"], answer["outputs"][0]["data"][0]


def test_a_rollback_and_a_promotion_change_the_version_that_answers(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    publish_coded(tmp_path, 2)
    with serving(tmp_path) as server:
        assert value(server) == ("2", 20.0)
        command(tmp_path, "rollback", "coded")
        server.wait_served("coded", 1)
        assert value(server) == ("1", 10.0)
        publish_coded(tmp_path, 3)
        assert value(server) == ("1", 10.0), "a pinned stable version stays when another is published"
        command(tmp_path, "promote", "coded", "3")
        server.wait_served("coded", 3)
        assert value(server) == ("3", 30.0)
        assert server.metric("tutti_serving_version", ensemble="coded") == 3


def test_labels_serve_beside_the_stable_version_and_move_only_onto_what_is_ready(tmp_path: Path) -> None:
    for version in (1, 2):
        publish_coded(tmp_path, version)
    command(tmp_path, "label", "coded", "blue", "1")
    with serving(tmp_path) as server:
        assert value(server) == ("2", 20.0)
        assert value(server, "/v2/models/coded/versions/1/infer") == ("1", 10.0)
        path = "/v1/models/coded/labels/blue:predict"
        assert server.json("POST", path, {"instances": [[10.0]]}) == {"predictions": [10.0]}
        publish(tmp_path, "coded", {"a": coded(3)}, version=3, files={"members/a.onnx": coded(4)})
        command(tmp_path, "label", "coded", "blue", "3")
        server.wait_for_log("version 3 is refused")
        assert server.json("POST", path, {"instances": [[10.0]]}) == {"predictions": [10.0]}
        status, _, content = server.request("POST", "/v1/models/coded/labels/green:predict", BODY)
        assert (status, b"there are: blue" in content) == (404, True)


def test_a_version_that_is_not_served_answers_404_with_those_that_are(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    publish_coded(tmp_path, 2)
    with serving(tmp_path) as server:
        status, _, content = server.request("POST", "/v2/models/coded/versions/1/infer", BODY)
        assert status == 404
        assert json.loads(content)["error"] == "ensemble 'coded' does not serve version 1; served are: 2"


def test_the_previous_version_can_be_kept_for_an_instant_rollback(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, "--keep-previous", "1") as server:
        publish_coded(tmp_path, 2)
        server.wait_served("coded", 2)
        assert value(server, "/v2/models/coded/versions/1/infer") == ("1", 10.0)
        publish_coded(tmp_path, 3)
        server.wait_for_log("'coded' version 1 is freed")
        assert server.json("GET", "/v2/models/coded")["versions"] == ["2", "3"]


def test_unload_and_load_through_the_control_api(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, "--poll-interval-s", "0.1") as server:
        assert server.control("/v2/repository/models/coded/unload")[0] == 200
        status, headers, content = server.request("POST", "/v2/models/coded/infer", BODY)
        assert (status, headers["retry-after"]) == (503, "1")
        assert b"was unloaded through the control API" in content
        assert server.request("GET", "/v2/models/coded/ready")[0] != 200
        assert server.control("/v2/repository/models/coded/load")[0] == 200
        assert value(server) == ("1", 10.0)
        assert server.control("/v2/repository/models/nobody/load")[0] == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_control_paths_need_the_token(tmp_path: Path, headers: dict[str, str]) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path) as server:
        status, _, _ = server.request("POST", "/v2/repository/models/coded/unload", "{}", headers)
        assert status == 403
        assert value(server) == ("1", 10.0)


def test_the_second_listener_alone_answers_the_control_paths(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, "--control-port", "0") as server:
        assert server.control("/v2/repository/models/coded/unload")[0] == 404
        assert value(server) == ("1", 10.0)
        data, control = server.ports
        server.port = control
        assert server.control("/v2/repository/models/coded/unload")[0] == 200
        server.port = data
        assert server.request("POST", "/v2/models/coded/infer", BODY)[0] == 503


def test_damaged_routes_change_nothing_and_are_told(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    publish_coded(tmp_path, 2)
    command(tmp_path, "promote", "coded", "1")
    with serving(tmp_path, "--poll-interval-s", "0.1") as server:
        (tmp_path / "coded" / "routes.json").write_text("{", encoding="utf-8")
        server.wait_for_log("what is served stays")
        assert value(server) == ("1", 10.0)
        index = server.json("POST", "/v2/repository/index", {})
        assert any("routes" in entry["reason"] for entry in index)
    with serving(tmp_path) as server:
        assert server.request("POST", "/v2/models/coded/infer", BODY)[0] == 503, "a pin that is lost is not guessed"


def test_degraded_answers_are_marked_and_counted(tmp_path: Path) -> None:
    weights = [[1.0, -1.0]]
    members = {"sound": Spec(linear(weights), kind="logits"), "fragile": Spec(nan_above(5.0, weights))}
    publish(tmp_path, "two", members, quorum=1)
    with serving(tmp_path) as server:
        ask = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [9.0]}]}
        status, headers, content = server.request("POST", "/v2/models/two/infer", json.dumps(ask))
        answer = json.loads(content)
        assert (status, headers["tutti-degraded"]) == (200, "fragile")
        assert answer["parameters"] == {"degraded": True, "missing": "fragile"}
        ask["inputs"][0]["data"] = [1.0]
        assert "parameters" not in server.json("POST", "/v2/models/two/infer", ask)
        assert server.metric("tutti_requests_total", outcome="degraded") == 1
        assert server.metric("tutti_degraded_total", ensemble="two") == 1
        assert server.metric("tutti_member_failures_total", member="fragile", reason="not_finite") >= 1


def test_a_quorum_that_is_lost_is_503_and_names_the_member(tmp_path: Path) -> None:
    weights = [[1.0, -1.0]]
    members = {"sound": softmax_linear(weights), "fragile": raising_above(5.0, weights)}
    publish(tmp_path, "two", members, quorum=2)
    with serving(tmp_path) as server:
        ask = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [9.0]}]}
        status, _, content = server.request("POST", "/v2/models/two/infer", json.dumps(ask))
        assert status in (422, 503)
        assert b"fragile" in content
        ask["inputs"][0]["data"] = [1.0]
        assert server.json("POST", "/v2/models/two/infer", ask)["model_version"] == "1"
