"""The short way in: the same answers as the long one, on real sockets with well-behaved and broken clients."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from server.http.inference.paths import parse_route
from tests.server.http.live import Live, Way, live

DATA = [0.25] * 64
BODY = json.dumps({"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 8, 8], "data": DATA}]}).encode()
WAYS: list[Way] = ["short", "long"]


@pytest.fixture(scope="module")
def short() -> Iterator[Live]:
    with live("short", body_timeout_s=0.5) as running:
        yield running


def head(path: str = "/v2/models/digits/infer", method: str = "POST", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def question(body: bytes = BODY, path: str = "/v2/models/digits/infer", **headers: str) -> bytes:
    return head(path, Content_Length=str(len(body)), **headers) + body


class Reader:
    """Reads responses off a raw socket, one after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def response(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._file.readline(), 16):
                body += self._file.read(size)
                self._file.readline()
            self._file.readline()
            return status, headers, body
        return status, headers, self._file.read(int(headers.get("content-length", "0")))

    def closed(self) -> bool:
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()


def exchange(server: Live, *sent: bytes, answers: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    with server.connect() as connection:
        reader = Reader(connection)
        try:
            for part in sent:
                connection.sendall(part)
            return [reader.response() for _ in range(answers)]
        finally:
            reader.close()


def test_both_ways_give_the_same_bytes() -> None:
    questions = [
        question(),
        question(path="/v2/models/digits/versions/1/infer"),
        question(json.dumps({"instances": [[[0.5] * 8] * 8]}).encode(), "/v1/models/digits:predict"),
        question(b"{"),
        question(b'{"inputs": []}'),
        question(path="/v2/models/nobody/infer"),
        question(path="/v2/models/digits/versions/9/infer"),
        question(path="/v1/models/digits:explain"),
        question(path="/v1/models/digits/labels/blue:predict"),
        question(Content_Type="text/csv"),
        question(Inference_Header_Content_Length="x"),
    ]
    found = []
    for way in WAYS:
        with live(way) as server:
            answers = [exchange(server, one)[0] for one in questions]
            found.append([(status, headers.get("content-type"), body) for status, headers, body in answers])
            counted = sorted(outcome for _, _, outcome in server.metrics.requests)
        found.append([(0, "", json.dumps(counted).encode())])
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert [status for status, _, _ in found[0]] == [200, 200, 200, 400, 400, 404, 404, 404, 404, 415, 400]


def test_a_connection_is_kept_and_answers_in_order(short: Live) -> None:
    bodies = [BODY.replace(b"0.25", f"0.{n}".encode()) for n in range(1, 9)]
    single = [exchange(short, question(body))[0][2] for body in bodies]
    kept = exchange(short, *[question(body) for body in bodies], answers=8)
    assert [body for _, _, body in kept] == single


def test_pipelined_requests_are_answered_in_order_on_either_way(short: Live) -> None:
    stream = question() + head("/v2/health/live", "GET") + question(b"{}") + question() + head("/metrics", "GET")
    answers = exchange(short, stream, answers=5)
    assert [status for status, _, _ in answers] == [200, 200, 400, 200, 200]


def test_bytes_may_arrive_one_by_one(short: Live) -> None:
    stream = question()
    status, _, body = exchange(short, *[stream[i : i + 97] for i in range(0, len(stream), 97)])[0]
    assert (status, body) == exchange(short, stream)[0][::2]


def test_chunked_bodies_are_answered(short: Live) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (BODY[:10], BODY[10:])) + b"0\r\n\r\n"
    status, _, body = exchange(short, head(Transfer_Encoding="chunked") + chunks)[0]
    assert (status, body) == exchange(short, question())[0][::2]


def test_expect_100_continue_is_answered_before_the_body(short: Live) -> None:
    with short.connect() as connection:
        reader = Reader(connection)
        connection.sendall(head(Content_Length=str(len(BODY)), Expect="100-continue"))
        assert reader.response()[0] == 100
        connection.sendall(BODY)
        assert reader.response()[0] == 200
        reader.close()


@pytest.mark.parametrize("ending", [{"Connection": "close"}, {}], ids=["close", "http/1.0"])
def test_the_connection_ends_where_the_client_wants_it(short: Live, ending: dict[str, str]) -> None:
    sent = question(BODY, **ending)
    if not ending:
        sent = sent.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with short.connect() as connection:
        reader = Reader(connection)
        connection.sendall(sent)
        assert reader.response()[0] == 200
        assert reader.closed()
        reader.close()


@pytest.mark.parametrize(
    "part", [head(Content_Length="50") + b"{", b"POST /v2/models/digits/infer HTT"], ids=["body", "head"]
)
def test_a_client_that_trickles_is_told_and_closed(short: Live, part: bytes) -> None:
    with short.connect() as connection:
        reader = Reader(connection)
        connection.sendall(part)
        status, headers, body = reader.response()
        assert (status, headers["connection"]) == (408, "close")
        assert b"did not arrive within 0.5 s" in body
        assert reader.closed()
        reader.close()


def test_a_client_that_never_asks_is_closed() -> None:
    with live("short", keep_alive_s=1) as server, server.connect() as connection:
        assert connection.recv(1) == b""


def test_a_client_that_leaves_withdraws_its_request(short: Live) -> None:
    before = len(short.metrics.requests)
    with short.connect() as connection:
        connection.sendall(head(Content_Length="5000") + b"{")
    assert exchange(short, question())[0][0] == 200
    deadline = time.monotonic() + 10
    while len(short.metrics.requests) < before + 2 and time.monotonic() < deadline:
        exchange(short, head("/v2/health/live", "GET"))  # a turn of the server's loop
    outcomes = [outcome for _, _, outcome in short.metrics.requests[before:]]
    assert sorted(outcomes) == ["cancelled", "ok"]


def test_a_body_too_large_is_refused_before_it_is_read() -> None:
    with live("short", max_body_bytes=1024) as server:
        status, _, body = exchange(server, head(Content_Length="99999999"))[0]
        assert status == 413
        assert b"99999999 bytes given, at most 1024" in body


def test_the_rate_limit_holds_on_the_short_way() -> None:
    with live("short", rate_limit_rps=2.0) as server:
        answers = exchange(server, *[question()] * 4, answers=4)
        assert [status for status, _, _ in answers].count(429) >= 1
        refused = next(headers for status, headers, _ in answers if status == 429)
        assert int(refused["retry-after"]) >= 1


def test_compressed_answers_are_given_where_asked(short: Live) -> None:
    big = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [20, 8, 8], "data": DATA * 20}]}
    _, headers, _ = exchange(short, question(json.dumps(big).encode(), Accept_Encoding="gzip"))[0]
    assert headers["content-encoding"] == "gzip"


def test_garbage_gets_400_and_the_next_connection_works(short: Live) -> None:
    assert exchange(short, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")[0][0] == 400
    assert exchange(short, question())[0][0] == 200


@pytest.mark.parametrize(
    ("url", "known"),
    [
        (b"/v2/models/digits/infer", True),
        (b"/v2/models/digits/versions/3/infer", True),
        (b"/v1/models/digits:predict", True),
        (b"/v1/models/digits/versions/3:predict", True),
        (b"/v1/models/digits/labels/blue:predict", True),
        (b"/v2/models/digits", False),
        (b"/v2/models/digits/infer?x=1", False),
        (b"/v2/models/a%2fb/infer", False),
        (b"/v2/models//infer", False),
        (b"/v2/models/digits/versions/0/infer", False),
        (b"/v2/models/digits/a/b/c/infer", False),
        (b"/v1/models/digits:explain", False),
        (b"/v2/models/infer", False),
        (b"/", False),
    ],
)
def test_only_prediction_paths_take_the_short_way(url: bytes, known: bool) -> None:
    assert (parse_route(url) is not None) == known
