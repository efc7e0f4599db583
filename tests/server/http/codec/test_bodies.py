"""Bodies on real sockets: too long, too slow, in pieces, and clients that leave."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.server.http.asking import tensor
from tests.server.http.running import Running, Way, running
from tests.server.http.standin import Manager, digits

BOTH = pytest.mark.parametrize("way", ["litestar", "short"])
BODY = json.dumps({"inputs": [tensor()]}).encode()
PATH = "/v2/models/digits/infer"


def connected(served: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=20)


def head(length: str | None, *more: str, path: str = PATH) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One whole answer with a content length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    top, _, body = data.partition(b"\r\n\r\n")
    status, *lines = top.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(status.split()[1]), headers, body


def pieces(size: int, total: int) -> Iterator[bytes]:
    for _ in range(0, total, size):
        yield b"x" * size


@BOTH
@pytest.mark.parametrize("size", [1, 7, 200])
def test_a_body_in_chunks_is_one_body(way: Way, size: int) -> None:
    with running(way, Manager(digits())) as served:
        chunks = (BODY[start : start + size] for start in range(0, len(BODY), size))
        response = httpx.post(served.url + PATH, content=chunks)
        assert response.status_code == 200


@BOTH
def test_a_body_that_arrives_in_pieces_is_one_body(way: Way) -> None:
    with running(way, Manager(digits())) as served, connected(served) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):  # twice on one connection
            connection.sendall(head(str(len(BODY))))
            for start in range(0, len(BODY), 50):
                connection.sendall(BODY[start : start + 50])
            assert answer(connection)[0] == 200


@BOTH
def test_a_length_above_the_limit_is_413_and_the_client_gets_to_read_it(way: Way) -> None:
    with running(way, Manager(digits()), max_body_bytes=100_000) as served:
        response = httpx.post(served.url + PATH, content=b"x" * 3_000_000)
        assert response.status_code == 413
        assert response.json() == {"error": "body: 3000000 bytes given, at most 100000 are taken"}
        assert httpx.post(served.url + PATH, content=BODY).status_code == 200


@BOTH
@pytest.mark.parametrize("length", ["9" * 17, "9" * 30])
def test_an_absurd_length_is_refused_without_waiting_for_the_body(way: Way, length: str) -> None:
    with running(way, Manager(digits())) as served, connected(served) as connection:
        connection.sendall(head(length))
        status, _, body = answer(connection)
        # Lengths beyond 64 bits are no HTTP, so the parser refuses them before us.
        assert status in (400, 413), body


@BOTH
def test_chunks_above_the_limit_are_413(way: Way) -> None:
    with running(way, Manager(digits()), max_body_bytes=100_000) as served:
        response = httpx.post(served.url + PATH, content=pieces(10_000, 1_000_000))
        assert response.status_code == 413
        assert response.json() == {"error": "body: more than 100000 bytes given"}


@BOTH
def test_a_body_that_trickles_is_408_and_closed(way: Way) -> None:
    with running(way, Manager(digits()), body_timeout_s=0.2) as served, connected(served) as connection:
        connection.sendall(head(str(len(BODY))) + BODY[:-1])
        status, _, body = answer(connection)
        assert status == 408
        assert b"did not arrive within 0.2 s" in body
        assert connection.recv(1) == b""


@BOTH
def test_a_refusal_does_not_wait_for_a_body_that_never_comes(way: Way) -> None:
    with running(way, Manager(digits())) as served, connected(served) as connection:
        connection.sendall(head(str(len(BODY)), path="/v2/models/no%20body/infer"))
        assert answer(connection)[0] == 404


@BOTH
def test_two_encodings_or_header_lengths_are_refused(way: Way) -> None:
    with running(way, Manager(digits())) as served:
        for name in ("Content-Encoding", "Inference-Header-Content-Length", "Content-Type"):
            with connected(served) as connection:
                connection.sendall(head(str(len(BODY)), f"{name}: a", f"{name}: b") + BODY)
                status, _, body = answer(connection)
                assert status == 400
                assert b"given twice" in body


@BOTH
def test_a_client_that_leaves_while_it_waits_is_withdrawn(way: Way) -> None:
    servable = digits()
    with running(way, Manager(servable)) as served:
        served.on_loop(lambda: setattr(servable, "gate", asyncio.Event()))
        with connected(served) as connection:
            connection.sendall(head(str(len(BODY))) + BODY)
            wait(served, servable.waiting)
        wait(served, servable.withdrawn)
        served.on_loop(lambda: setattr(servable, "gate", None))
        assert httpx.post(served.url + PATH, content=BODY).status_code == 200
        assert served.metrics.requests[0] == ("digits", "1", "cancelled")


@BOTH
def test_a_client_that_leaves_inside_its_body_is_counted_and_forgotten(way: Way) -> None:
    with running(way, Manager(digits())) as served:
        with connected(served) as connection:
            connection.sendall(head(str(len(BODY))) + BODY[:10])
        # The next request is answered on the loop after the first one's end was seen.
        assert httpx.post(served.url + PATH, content=BODY).status_code == 200
        assert ("digits", "1", "ok") in served.metrics.requests


@BOTH
def test_answers_of_one_connection_come_in_order(way: Way) -> None:
    requests = [json.dumps({"id": str(number), "inputs": [tensor()]}).encode() for number in range(20)]
    with running(way, Manager(digits())) as served, connected(served) as connection:
        connection.sendall(b"".join(head(str(len(body))) + body for body in requests))
        data = b""
        while data.count(b'"id"') < 20:
            data += connection.recv(65536)
        places = [data.index(f'"id":"{number}"'.encode()) for number in range(20)]
        assert places == sorted(places)


@BOTH
def test_a_slow_client_does_not_hold_up_the_others(way: Way) -> None:
    with running(way, Manager(digits())) as served, connected(served) as slow:
        slow.sendall(head(str(len(BODY))) + BODY[:-1])
        statuses: list[int] = []

        def work() -> None:
            with httpx.Client(base_url=served.url) as client:
                statuses.extend(client.post(PATH, content=BODY).status_code for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 80
        slow.sendall(BODY[-1:])
        assert answer(slow)[0] == 200


def wait(served: Running, event: asyncio.Event) -> None:
    asyncio.run_coroutine_threadsafe(asyncio.wait_for(event.wait(), 10), served.loop).result(15)
