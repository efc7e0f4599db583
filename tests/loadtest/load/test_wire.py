"""The HTTP/1.1 client against a real server that frames its answers in every way."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from loadtest.errors import TargetError
from loadtest.load.wire import Address, Reply, exchange, request_bytes
from tests.loadtest.scripted_server import Answer, Framing, ScriptedServer


def ask(url: str, timeout_s: float = 10.0) -> Reply:
    address = Address.parse(url)
    request = request_bytes(address, "POST", "/v2/models/digits/infer", b"{}", {"X-Test": "1"})
    return asyncio.run(exchange(address, request, timeout_s))


@contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """A server for one connection that sends these very bytes, one at a time, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(ConnectionError):  # a client that has seen enough hangs up
            connection.recv(65536)
            for byte in answer:
                connection.sendall(bytes([byte]))

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("framing", ["length", "chunked", "until_close"])
def test_an_answer_is_read_whole_however_it_is_framed(framing: Framing) -> None:
    body = b"x" * 300_000
    with ScriptedServer(lambda request: Answer(body=body, framing=framing)) as server:
        reply = ask(server.url)
    assert (reply.status, reply.body, reply.json_bytes) == (200, body, None)


def test_an_answer_that_comes_byte_by_byte_is_read_whole() -> None:
    with raw_server(b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\nRetry-After: 1\r\n\r\nhello") as url:
        assert ask(url) == Reply(503, b"hello", None)


def test_an_interim_answer_is_not_taken_for_the_answer() -> None:
    with ScriptedServer(lambda request: Answer(interim=True, body=b"late")) as server:
        assert ask(server.url).body == b"late"


def test_an_answer_without_a_body_is_an_answer() -> None:
    with raw_server(b"HTTP/1.1 204 Nothing\r\n\r\n") as url:
        assert ask(url) == Reply(204, b"", None)


def test_the_length_of_the_json_part_of_a_binary_answer_is_kept() -> None:
    headers = (("Inference-Header-Content-Length", "2"),)
    with ScriptedServer(lambda request: Answer(body=b"{}\x00\x00", headers=headers)) as server:
        assert ask(server.url).json_bytes == 2


def test_the_request_arrives_with_its_headers_and_body() -> None:
    with ScriptedServer(lambda request: Answer()) as server:
        ask(server.url)
    (request,) = server.requests
    assert request.body == b"{}"
    assert request.headers[b"x-test"] == b"1"
    assert request.headers[b"host"] == server.url.removeprefix("http://").encode()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "closed by the server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed by the server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP/1.1"),
    ],
)
def test_a_broken_answer_is_told_in_one_line(sent: bytes, said: str) -> None:
    with raw_server(sent) as url, pytest.raises(TargetError, match=said) as caught:
        ask(url)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_a_reset_connection_is_told() -> None:
    with ScriptedServer(lambda request: Answer(reset=True)) as server, pytest.raises(TargetError, match="no answer"):
        ask(server.url)


def test_a_silent_server_is_given_up_after_the_timeout() -> None:
    with (
        ScriptedServer(lambda request: Answer(silent=True)) as server,
        pytest.raises(TargetError, match=r"no answer within 0\.2 s"),
    ):
        ask(server.url, timeout_s=0.2)


def test_a_port_where_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetError, match="cannot connect"):
        ask(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000", Address("http", "localhost", 8000, "")),
        ("localhost:8000/", Address("http", "localhost", 8000, "")),
        ("https://models.example/tutti/", Address("https", "models.example", 443, "/tutti")),
        ("http://[::1]:9000", Address("http", "::1", 9000, "")),
    ],
)
def test_an_address_is_read_from_a_url(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected


@pytest.mark.parametrize("url", ["ftp://models", "http://", "http://host:port", "http://host:99999", ""])
def test_what_is_no_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(TargetError, match="URL"):
        Address.parse(url)


def test_an_ipv6_address_keeps_its_brackets_on_the_wire() -> None:
    request = request_bytes(Address("http", "::1", 9000, "/tutti"), "GET", "/v2")
    assert request == b"GET /tutti/v2 HTTP/1.1\r\nHost: [::1]:9000\r\n\r\n"
