"""HEAD, OPTIONS, 405 and CORS on every path, by both ways in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest

from server.settings import SettingsError, load
from tests.server.http.asking import tensor
from tests.server.http.running import TOKEN, Running, Way, running

ORIGIN = "https://shop.example"
INFER = "/v2/models/digits/infer"
GETS = [
    "/", "/metrics", "/schema", "/schema/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready",
    "/v2/models/stats", "/v2/models/digits", "/v2/models/digits/ready", "/v2/models/digits/config",
    "/v2/models/digits/stats", "/v2/models/digits/versions/1", "/v2/models/digits/versions/1/ready", "/v1/models",
    "/v1/models/digits", "/v1/models/digits/versions/1", "/v2/models/nobody", "/nope", "/v2/health/ready/",
]  # fmt: skip
POST = "OPTIONS, POST"
GET = "GET, HEAD, OPTIONS"


@pytest.fixture(scope="module", params=get_args(Way))
def shared(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(request.param, cors_origins=(ORIGIN, "http://localhost:3000")) as server:
        yield server


def ask(served: Running, method: str, path: str, **options: Any) -> httpx.Response:
    return httpx.request(method, served.url + path, **options)


def cors_of(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control")}


@pytest.mark.parametrize("path", GETS)
def test_head_is_answered_as_get_is_without_the_body(served: Running, path: str) -> None:
    with httpx.Client(base_url=served.url) as client:  # one connection: a body would be read as the next answer
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        if path != "/metrics":  # which says something else each time
            assert head.headers["content-length"] == get.headers["content-length"]


def test_head_of_an_ensemble_that_is_not_ready_is_503() -> None:
    with running() as served:
        served.manager.is_ready = False
        assert ask(served, "HEAD", "/v2/health/ready").status_code == 503


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/metrics", GET), ("/v2", GET), ("/v2/health/ready", GET), ("/v2/models/digits", GET), (INFER, POST),
        ("/v2/models/digits/versions/1/infer", POST), ("/v1/models/digits", GET), ("/v1/models/digits:predict", POST),
        ("/v1/models/digits/versions/1", GET), ("/v1/models/digits/labels/blue", GET),
        ("/v1/models/digits/versions/1:predict", POST),
        ("/v1/models/digits/labels/blue:predict", POST), ("/v1/models/digits%3Apredict", POST),
        ("/v2/repository/index", POST), ("/v2/repository/models/digits/load", POST), ("/schema/openapi.json", GET),
    ],
)  # fmt: skip
def test_options_and_405_name_the_methods_that_work(served: Running, path: str, allow: str) -> None:
    options = ask(served, "OPTIONS", path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allow, b"")
    wrong = ["PUT", "DELETE", "PATCH", *(["GET", "HEAD"] if allow == POST else ["POST"] if "/v1/" not in path else [])]
    for method in wrong:
        response = ask(served, method, path, content=b"{}" if method == "POST" else None)
        assert (response.status_code, response.headers["allow"]) == (405, allow), method
        assert method == "HEAD" or response.json().keys() == {"error"}


@pytest.mark.parametrize("path", ["/nope", "/v1/models/digits:explain", "/v2/logging"])
def test_options_of_what_is_not_there_is_404(served: Running, path: str) -> None:
    assert ask(served, "OPTIONS", path).status_code == 404


def test_other_origins_get_nothing_unless_they_are_listed(served: Running) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert cors_of(ask(served, "OPTIONS", INFER, headers=asked)) == {}
    assert cors_of(ask(served, "POST", INFER, headers=asked, json={"inputs": [tensor()]})) == {}


@pytest.mark.parametrize("path", [INFER, "/v1/models/digits:predict"])
def test_a_preflight_of_a_listed_origin_is_answered(shared: Running, path: str) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,inference-header-content-length",
    }
    response = ask(shared, "OPTIONS", path, headers=asked)
    assert response.status_code == 204
    assert cors_of(response) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-methods": POST,
        "access-control-allow-headers": asked["Access-Control-Request-Headers"],
        "access-control-expose-headers": (
            "tutti-version, tutti-degraded, inference-header-content-length, retry-after, retry-after-ms"
        ),
        "access-control-max-age": "600",
    }
    assert response.headers["vary"] == "origin"
    stranger = ask(shared, "OPTIONS", path, headers={**asked, "Origin": "https://evil.example"})
    assert (cors_of(stranger), stranger.headers["vary"]) == ({}, "origin")


def test_answers_and_errors_are_readable_by_a_listed_origin_alone(shared: Running) -> None:
    good: dict[str, Any] = {"inputs": [tensor()]}
    bad: dict[str, Any] = {"inputs": []}
    with httpx.Client(base_url=shared.url) as client:
        for body, status in ((good, 200), (good, 200), (good, 200), (bad, 400)):
            response = client.post(INFER, json=body, headers={"Origin": ORIGIN})
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == ORIGIN
        for headers in ({"Origin": "https://evil.example"}, {}):
            assert cors_of(client.post(INFER, json=good, headers=headers)) == {}
        assert cors_of(client.get("/v2/health/ready", headers={"Origin": "http://localhost:3000"})) != {}
        assert cors_of(client.get("/nope", headers={"Origin": ORIGIN})) != {}


@pytest.mark.parametrize("way", get_args(Way))
def test_a_star_is_any_origin(way: Way) -> None:
    with running(way, cors_origins=("*",)) as served:
        response = ask(served, "POST", INFER, json={"inputs": [tensor()]}, headers={"Origin": ORIGIN})
        assert response.headers["access-control-allow-origin"] == "*"


def test_the_control_token_is_needed_from_a_listed_origin_too(shared: Running) -> None:
    path = "/v2/repository/models/digits/load"
    assert ask(shared, "POST", path, headers={"Origin": ORIGIN}).status_code == 403
    token = {"Origin": ORIGIN, "Authorization": f"Bearer {TOKEN}"}
    assert ask(shared, "POST", path, headers=token).status_code == 200


def test_origins_are_given_with_commas_or_as_a_list() -> None:
    assert load({"cors_origins": f"{ORIGIN}, http://localhost:3000"}, {}).cors_origins == (
        ORIGIN,
        "http://localhost:3000",
    )
    assert load({}, {"TUTTI_CORS_ORIGINS": "*"}).cors_origins == ("*",)
    for wrong in ("shop.example", "https://shop.example/path"):
        with pytest.raises(SettingsError, match="cors_origins"):
            load({"cors_origins": wrong}, {})


def test_the_access_log_names_the_method_that_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    with running("litestar", access_log=True) as served, caplog.at_level("INFO", "tutti.access"):
        ask(served, "HEAD", "/v2")
    assert " HEAD '/v2' 200 " in caplog.text
