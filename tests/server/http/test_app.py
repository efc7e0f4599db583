"""Every route but the predictions' own formats, on a real port, by both ways in."""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pytest

from tests.server.http.asking import tensor
from tests.server.http.running import TOKEN, Running, Way, running
from tests.server.http.standin import Manager, digits, pair

BOTH = pytest.mark.parametrize("way", ["litestar", "short"])
INFER = {"inputs": [tensor()]}
ROW = {"instances": [[[0.5] * 8] * 8]}


def get(served: Running, path: str, **options: Any) -> httpx.Response:
    return httpx.get(served.url + path, **options)


def post(served: Running, path: str, **options: Any) -> httpx.Response:
    return httpx.post(served.url + path, **options)


def test_the_front_says_where_to_go(served: Running) -> None:
    front = get(served, "/").json()
    assert front["name"] == "tutti"
    for key in ("protocol", "openapi", "metrics"):
        assert get(served, front[key]).status_code == 200


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8", "\n"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", "\n"),
        ("text/plain;version=0.0.4;q=0.3", "text/plain; version=0.0.4; charset=utf-8", "\n"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text; version=1.0.0",
         "\n# EOF\n"),
    ],
)  # fmt: skip
def test_metrics_come_in_the_format_that_the_scraper_takes(
    served: Running, accept: str | None, content_type: str, end: str
) -> None:
    response = httpx.get(served.url + "/metrics", headers={} if accept is None else {"accept": accept})
    assert response.headers["content-type"].startswith(content_type)
    assert response.text.startswith("# HELP tutti_requests")
    assert response.text.endswith(end)
    assert response.text.count("# EOF") == end.count("EOF")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nope", 404), ("/v2/nope", 404), ("/v2/models", 404), ("/v3", 404), ("/v2/models/digits/nope", 404),
        ("/v2/models/nobody", 404), ("/v2/models/digits/versions/9", 404), ("/v2/models/digits/versions/x", 404),
        ("/v2/models/digits/versions/01", 404), ("/v2/models/digits/versions/0", 404), ("/v1/models/nobody", 404),
        ("/v2/models/digits/versions/" + "9" * 5000, 404), ("/v2/models/" + "x" * 8000, 404),
        ("/v2/models/..%2f..%2fetc", 404), ("/v2/models/%00", 404), ("/v2/models/%ff%fe", 404),
        ("/v2/models/a%0d%0aSet-Cookie:x", 404), ("/v2/models/digits%20", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_json_404(served: Running, path: str, status: int) -> None:
    response = get(served, path)
    assert response.status_code == status
    assert response.json().keys() == {"error"}
    assert len(response.json()["error"]) < 400
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "path",
    ["/v2/models/no%0d%0abody/infer", "/v2/models/digits/versions/x/infer", "/v1/models/digits:classify",
     "/v1/models/digits", "/v1/models/:predict", "/v1/models/digits/labels/a%20b:predict", "/v1/models/a:b:predict"],
)  # fmt: skip
def test_a_prediction_path_that_names_nothing_is_a_json_404(served: Running, path: str) -> None:
    response = post(served, path, json=INFER)
    assert response.status_code == 404
    assert response.json().keys() == {"error"}


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v2"), ("GET", "/v2/models/digits/infer"), ("DELETE", "/metrics")]
)
def test_another_method_is_405_and_says_which_are_taken(served: Running, method: str, path: str) -> None:
    response = httpx.request(method, served.url + path)
    assert response.status_code == 405
    assert response.json()["error"] == f"'{path}' does not take {method}"
    assert response.headers["allow"]


def test_versions_and_labels_of_predict(served: Running) -> None:
    served.manager.label_table["digits"] = {"canary": 1}
    for path, version in (
        ("digits:predict", "2"),
        ("digits/versions/1:predict", "1"),
        ("digits/labels/canary:predict", "1"),
    ):
        response = post(served, f"/v1/models/{path}", json=ROW)
        assert response.status_code == 200, response.text
        assert response.headers["tutti-version"] == version
    assert post(served, "/v1/models/digits/labels/none:predict", json=ROW).status_code == 404


def test_v1_status_lists_the_versions(served: Running) -> None:
    status = get(served, "/v1/models/digits").json()
    assert status["ready"] is True
    assert status["model_version_status"] == [
        {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        for version in ("1", "2")
    ]
    (one,) = get(served, "/v1/models/digits/versions/2").json()["model_version_status"]
    assert one["version"] == "2"
    assert get(served, "/v1/models/digits/versions/9").status_code == 404
    assert "digits" in get(served, "/v1/models").json()["models"]


def test_the_metadata_of_tensorflow_serving_names_inputs_and_outputs(served: Running) -> None:
    served.manager.label_table["digits"] = {"blue": 1}
    described = get(served, "/v1/models/digits/metadata").json()
    assert described["model_spec"] == {"name": "digits", "signature_name": "", "version": "2"}
    signature = described["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    dimensions = [{"size": size, "name": ""} for size in ("-1", "8", "8")]
    assert signature["inputs"] == {
        "image": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": "image:0"}
    }
    assert {name: each["dtype"] for name, each in signature["outputs"].items()} == {
        "probabilities": "DT_FLOAT",
        "label": "DT_STRING",
    }
    for path in ("versions/1", "labels/blue"):
        assert get(served, f"/v1/models/digits/{path}/metadata").json()["model_spec"]["version"] == "1"
        assert get(served, f"/v1/models/digits/{path}").json()["model_version_status"][0]["version"] == "1"
    assert get(served, "/v1/models/nobody/metadata").status_code == 404
    assert get(served, "/v1/models/digits/labels/none/metadata").status_code == 404
    served.manager.label_table.clear()


def test_the_index_may_list_only_what_is_ready() -> None:
    manager = Manager(digits())
    manager.broken["bad"] = "digest differs"
    with running(manager=manager) as served:
        index = post(served, "/v2/repository/index").json()
        assert {"name": "bad", "version": "1", "state": "UNAVAILABLE", "reason": "digest differs"} in index
        ready = post(served, "/v2/repository/index", json={"ready": True}).json()
        assert [entry["name"] for entry in ready] == ["digits"]
        assert post(served, "/v2/repository/index", content=b"{").status_code == 400
        assert post(served, "/v2/repository/index", json={"ready": 1}).json() == {
            "error": "ready: expected true or false, got a whole number"
        }
        assert post(served, "/v2/repository/index", content=b"x" * (2 << 20)).status_code == 413


def test_readiness_follows_the_manager() -> None:
    manager = Manager(digits())
    with running(manager=manager) as served:
        assert get(served, "/v2/health/ready").json() == {"ready": True}
        manager.is_ready = False
        response = get(served, "/v2/health/ready")
        assert response.status_code == 503
        assert response.json() == {"ready": False, "reason": "ensemble 'digits' is loading"}
        assert int(response.headers["retry-after"]) >= 1
        assert get(served, "/v2/health/live").status_code == 200
        assert get(served, "/v2/models/digits/ready").json() == {"ready": True, "name": "digits"}
        manager.unloaded.add("digits")
        assert get(served, "/v2/models/digits/ready").status_code == 503


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer größer"],
)
def test_control_without_the_token_is_403(served: Running, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode()}
    for action in ("load", "unload"):
        response = post(served, f"/v2/repository/models/digits/{action}", headers=headers)
        assert response.status_code == 403
        assert TOKEN not in response.text
    assert get(served, "/v2/models/digits/ready").status_code == 200


def test_without_a_token_set_the_control_paths_are_closed() -> None:
    with running(control_token=None) as served:
        response = post(served, "/v2/repository/models/digits/unload", headers={"authorization": "Bearer None"})
        assert response.status_code == 403
        assert "no control token is set" in response.json()["error"]


@BOTH
def test_predictions_and_control_can_have_listeners_of_their_own(way: Way) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with running(way, Manager(digits()), surface="data") as served:
        assert post(served, "/v2/models/digits/infer", json=INFER).status_code == 200
        assert post(served, "/v2/repository/models/digits/load", headers=headers).status_code == 404
        assert get(served, "/v2/health/live").status_code == 200
    with running("litestar", Manager(digits()), surface="control") as served:
        assert post(served, "/v2/models/digits/infer", json=INFER).status_code == 404
        assert post(served, "/v1/models/digits:predict", json=ROW).status_code in (404, 405)
        assert post(served, "/v2/repository/models/digits/load", headers=headers).status_code == 200
        assert get(served, "/metrics").status_code == 200


@BOTH
def test_a_client_over_its_share_gets_429(way: Way) -> None:
    with running(way, Manager(digits()), rate_limit_rps=2) as served, httpx.Client(base_url=served.url) as client:
        statuses = [client.post("/v2/models/digits/infer", json=INFER).status_code for _ in range(4)]
        assert statuses.count(429) >= 1
        response = client.post("/v2/models/digits/infer", json=INFER)
        assert int(response.headers["retry-after"]) >= 1
        assert "more than 2 requests per second" in response.json()["error"]
        assert client.get("/v2/health/live").status_code == 200


def test_the_openapi_document_has_every_route(served: Running) -> None:
    document = get(served, "/schema").json()
    assert document == get(served, "/schema/openapi.json").json()
    methods = {(method, path) for path, item in document["paths"].items() for method in item}
    wanted = {
        ("get", "/"), ("get", "/metrics"), ("get", "/v2"), ("get", "/v2/health/live"), ("get", "/v2/health/ready"),
        ("get", "/v2/models/{name}"), ("get", "/v2/models/{name}/versions/{version}"),
        ("get", "/v2/models/{name}/ready"), ("get", "/v2/models/{name}/versions/{version}/ready"),
        ("get", "/v2/models/{name}/config"), ("get", "/v2/models/{name}/versions/{version}/config"),
        ("get", "/v2/models/{name}/stats"), ("get", "/v2/models/{name}/versions/{version}/stats"),
        ("get", "/v2/models/stats"), ("post", "/v2/models/{name}/infer"),
        ("post", "/v2/models/{name}/versions/{version}/infer"), ("post", "/v2/repository/index"),
        ("post", "/v2/repository/models/{name}/load"), ("post", "/v2/repository/models/{name}/unload"),
        ("get", "/v1/models"), ("get", "/v1/models/{name}"), ("get", "/v1/models/{name}/versions/{version}"),
            ("get", "/v1/models/{name}/labels/{label}"), ("get", "/v1/models/{name}/metadata"),
            ("get", "/v1/models/{name}/versions/{version}/metadata"),
            ("get", "/v1/models/{name}/labels/{label}/metadata"),
        ("post", "/v1/models/{name}:predict"), ("post", "/v1/models/{name}/versions/{version}:predict"),
        ("post", "/v1/models/{name}/labels/{label}:predict"),
    }  # fmt: skip
    assert methods == wanted
    infer = document["paths"]["/v2/models/{name}/infer"]["post"]
    assert infer["requestBody"]["content"].keys() == {"application/json", "application/octet-stream"}
    assert {"200", "400", "404", "413", "415", "422", "429", "503", "504"} <= infer["responses"].keys()
    predict = document["paths"]["/v1/models/{name}:predict"]["post"]
    assert "image/png" in predict["requestBody"]["content"]
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


@BOTH
def test_a_bug_in_any_handler_is_a_500_without_its_insides(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    manager = Manager(digits(), pair())
    manager.index = lambda: 1 / 0  # type: ignore[assignment,method-assign,return-value]
    manager.route("pair").error = RuntimeError("secret")
    with running(way, manager) as served:
        response = post(served, "/v2/repository/index")
        assert response.status_code == 500
        assert response.json()["error"].startswith("internal error, request ")
        body = {"id": "mine", "inputs": [tensor("a", [1, 3], data=[1, 2, 3]), tensor("b", [1], "INT64", data=[1])]}
        response = post(served, "/v2/models/pair/infer", json=body)
        assert response.json() == {"error": "internal error, request mine"}
        assert get(served, "/v2/health/live").status_code == 200
    assert len([record for record in caplog.records if record.exc_info]) == 2


def test_the_access_log_has_one_line_a_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tutti.access"), running(manager=Manager(digits()), access_log=True) as served:
        post(served, "/v2/models/digits/infer", json=INFER)
        post(served, "/v2/models/no%0abody/infer", json=INFER)
        get(served, "/v2/health/live")
        get(served, "/nope")
    lines = [record.getMessage().split() for record in caplog.records if record.name == "tutti.access"]
    assert [line[1:4] for line in lines] == [
        ["POST", "'/v2/models/digits/infer'", "200"],
        ["POST", "'/v2/models/no\\nbody/infer'", "404"],
        ["GET", "'/v2/health/live'", "200"],
        ["GET", "'/nope'", "404"],
    ]


def test_outcomes_are_counted_by_name(served: Running) -> None:
    before = len(served.metrics.requests)
    post(served, "/v2/models/digits/infer", json=INFER)
    post(served, "/v2/models/digits/infer", content=b"{")
    post(served, "/v2/models/nobody/infer", json=INFER)
    assert served.metrics.requests[before:] == [
        ("digits", "2", "ok"),
        ("digits", "2", "malformed"),
        ("", "", "unknown"),
    ]


def test_answers_are_json_that_any_reader_takes(served: Running) -> None:
    response = post(served, "/v2/models/digits/infer", json=INFER)
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.content)["model_version"] == "2"
