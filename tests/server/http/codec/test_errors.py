"""The table of errors, and what an error body never says."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

import server.errors
from server.errors import LoadError, Overloaded, QuorumLost, RateLimited, RequestError, ServerError
from server.http import Call, Target
from server.http.codec.errors import TABLE, error_reply, row_of, without_paths
from tests.server.http.asking import Way, ask, inference, tensor
from tests.server.http.standin import Manager, digits

REQUEST = json.dumps({"id": "r-1", "inputs": [tensor()]}).encode()


def kinds(base: type[ServerError] = ServerError) -> Iterator[type[ServerError]]:
    """Every error that this layer may have to answer; what others derive for themselves has its parent's row."""
    for kind in base.__subclasses__():
        if kind.__module__.startswith(("server.errors", "server.http")):
            yield kind
            yield from kinds(kind)


def made(kind: type[ServerError]) -> ServerError:
    if issubclass(kind, RateLimited | Overloaded):
        return kind("sentence", 0.2)
    if issubclass(kind, QuorumLost):
        return kind("sentence", ["cnn"])
    return kind("manifest", "sentence") if issubclass(kind, LoadError) else kind("sentence")


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind is not RequestError])
def test_every_error_has_its_own_status(kind: type[ServerError]) -> None:
    status, _ = row_of(made(kind))
    assert 400 <= status < 600
    assert status != 500
    assert json.loads(error_reply(made(kind)).body) == {"error": "sentence"}


def test_the_table_names_errors_that_exist() -> None:
    assert set(TABLE) <= set(kinds())
    assert vars(server.errors)["Overloaded"] in TABLE


@pytest.mark.parametrize("kind", [kind for kind in kinds() if row_of(made(kind))[0] in (429, 503)])
def test_come_back_later_says_when_in_whole_seconds(kind: type[ServerError]) -> None:
    assert dict(error_reply(made(kind)).headers)[b"retry-after"] == b"1"


def test_retry_after_is_rounded_up() -> None:
    assert dict(error_reply(Overloaded("full", 3.2)).headers)[b"retry-after"] == b"4"


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("load of /srv/models/digits/3/members/cnn.onnx failed", "load of cnn.onnx failed"),
        ("cannot open '/var/lib/x/ensemble.json': denied", "cannot open 'ensemble.json': denied"),
        ("members/cnn.onnx: sha256 differs", "members/cnn.onnx: sha256 differs"),
        ("no path '/v2/models/x'; GET /schema lists all", "no path '/v2/models/x'; GET /schema lists all"),
        ("3 of 4 members answered, 1/2 s", "3 of 4 members answered, 1/2 s"),
        ("Content-Type: image/png given", "Content-Type: image/png given"),
    ],
)
def test_paths_of_the_machine_are_cut_from_messages(text: str, public: str) -> None:
    assert without_paths(text) == public


@pytest.mark.parametrize("way", ["task", "nowait"])
def test_a_bug_gives_the_client_an_id_and_the_log_one_traceback(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    servable = digits()
    servable.error = RuntimeError("secret /etc/passwd")
    asked, metrics = inference(Manager(servable))
    with caplog.at_level(logging.ERROR):
        reply = asyncio.run(ask(asked, Call("v2", Target("digits")), REQUEST, way))
    assert reply.status == 500
    assert json.loads(reply.body) == {"error": "internal error, request r-1"}
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "r-1" in record.getMessage()
    assert metrics.requests == [("digits", "1", "error")]


@pytest.mark.parametrize("way", ["task", "nowait"])
@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        (Overloaded("the queue is full", 2.0), 503, "overloaded"),
        (server.errors.DeadlineExceeded("late"), 504, "deadline"),
        (QuorumLost("1 of 3 members answered", ["cnn"]), 503, "quorum"),
        (server.errors.InvalidTensor("inputs are refused by the model"), 422, "invalid"),
    ],
)
def test_what_serving_raises_is_answered_and_counted(way: Way, error: ServerError, status: int, outcome: str) -> None:
    servable = digits()
    servable.error = error
    asked, metrics = inference(Manager(servable))
    reply = asyncio.run(ask(asked, Call("v2", Target("digits")), REQUEST, way))
    assert reply.status == status
    assert json.loads(reply.body) == {"error": str(error)}
    assert metrics.requests == [("digits", "1", outcome)]


@pytest.mark.parametrize(
    ("wait_s", "seconds", "milliseconds"), [(0.0301, b"1", b"31"), (3.2, b"4", b"3200"), (0.0, b"1", b"1")]
)
def test_a_short_wait_is_told_in_milliseconds_too(wait_s: float, seconds: bytes, milliseconds: bytes) -> None:
    headers = dict(error_reply(Overloaded("full", wait_s)).headers)
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (seconds, milliseconds)
