"""Heads without end: refused with 431 on either way, before they are memory, and without harm to other answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from server.http.inference.bounded_protocol import LINGER_BYTES, MAX_FIELDS, MAX_HEAD_BYTES
from tests.server.http.inference.test_protocol import BODY, Reader, exchange, head, question
from tests.server.http.live import Live, Way, live

INFER = "/v2/models/digits/infer"
READ_AT_ONCE = 1 << 20
"""More than a transport reads before it calls its protocol."""


@pytest.fixture(scope="module", params=["short", "long"])
def server(request: pytest.FixtureRequest) -> Iterator[Live]:
    way: Way = request.param
    with live(way, body_timeout_s=5.0) as running:
        yield running


def fields(count: int, size: int = 1) -> dict[str, str]:
    return {f"x_{n}": "a" * size for n in range(count)}


def refused(server: Live, *sent: bytes) -> str:
    """The sentence of a 431, behind which the connection is closed."""
    with server.connect() as connection:
        reader = Reader(connection)
        try:
            for part in sent:
                connection.sendall(part)
            status, headers, body = reader.response()
            assert reader.closed()
        finally:
            reader.close()
    assert (status, headers["connection"]) == (431, "close")
    found: str = json.loads(body)["error"]
    return found


def flood(server: Live, opening: bytes, part: bytes) -> int:
    """Bytes that the server lets a client send without end."""
    sent = 0
    with server.connect() as connection:
        connection.sendall(opening)
        try:
            while sent < 100 * READ_AT_ONCE:
                connection.sendall(part)
                sent += len(part)
        except OSError:  # reset or broken pipe
            pass
    return sent


def test_a_head_with_too_many_fields_is_refused(server: Live) -> None:
    sentence = refused(server, head(INFER, Content_Length="2", **fields(MAX_FIELDS)) + b"{}")
    assert sentence == (
        f"headers: {MAX_FIELDS + 2} fields given, at most {MAX_FIELDS} fields and {MAX_HEAD_BYTES} bytes with the path "
        "are taken"
    )


def test_as_many_fields_and_bytes_as_are_allowed_are_taken(server: Live) -> None:
    many = question(BODY, **fields(MAX_FIELDS - 2))
    large = question(BODY, x="a" * (MAX_HEAD_BYTES - 100))
    assert [status for status, _, _ in exchange(server, many + large + question(), answers=3)] == [200, 200, 200]


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES, 200_000, LINGER_BYTES], ids=["64 KiB", "200 kB", "1 MiB"])
@pytest.mark.parametrize("part", ["field", "path"])
def test_one_field_or_a_path_above_the_limit_is_refused(server: Live, part: str, size: int) -> None:
    long = "a" * size
    sent = head(INFER, x=long) if part == "field" else head(f"/v2/models/{long}/infer")
    assert f"more than {MAX_HEAD_BYTES} bytes given" in refused(server, sent)


def test_a_head_behind_a_good_request_in_the_same_bytes_is_refused_too(server: Live) -> None:
    with server.connect() as connection:
        reader = Reader(connection)
        connection.sendall(question() + question(x="a" * 100_000))
        assert reader.response()[0] == 200
        left = reader.response()[0] if not reader.closed() else 431
        assert left == 431
        reader.close()


@pytest.mark.parametrize(
    ("opening", "part"),
    [
        (b"POST /v2/models/digits/infer HTTP/1.1\r\n", b"x: " + b"a" * 60_000 + b"\r\n"),
        (b"POST /v2/models/digits/infer HTTP/1.1\r\nx: ", b"a" * 60_000),
        (b"POST /v2/models/digits/infer HTTP/1.1\r\n", b"a:\r\n" * 10_000),
        (b"POST /", b"a" * 60_000),
        (head(Transfer_Encoding="chunked") + b"1\r\n{\r\n0\r\n", b"x: " + b"a" * 60_000 + b"\r\n"),
        (head(Transfer_Encoding="chunked") + b"1\r\n{\r\n0\r\nx: ", b"a" * 60_000),
        (head(Transfer_Encoding="chunked") + b"1;x=", b"a" * 60_000),
        (b"\x16\x03\x01", b"a" * 60_000),
    ],
    ids=["fields", "a field", "small fields", "a path", "trailers", "a trailer", "a chunk's extension", "no HTTP"],
)
def test_what_never_ends_is_cut_off(server: Live, opening: bytes, part: bytes) -> None:
    assert flood(server, opening, part) < 16 * READ_AT_ONCE
    assert exchange(server, question())[0][0] == 200


def test_small_fields_that_trickle_in_are_counted_while_they_come(server: Live) -> None:
    parts = [b"POST /v2/models/digits/infer HTTP/1.1\r\n", *([b"a:\r\n" * 50] * 4), b"a:\r\n" * 2]
    assert f"{MAX_FIELDS + 1} fields given" in refused(server, *parts)


def test_trailers_are_no_headers(server: Live) -> None:
    chunks = b"%x\r\n%b\r\n0\r\ncontent-type: text/csv\r\n\r\n" % (len(BODY), BODY)
    assert exchange(server, head(Transfer_Encoding="chunked") + chunks)[0][0] == 200


def test_answers_on_their_way_are_given_before_the_connection_closes(server: Live) -> None:
    rows = json.dumps({"instances": [[[0.5] * 8] * 8] * 100}).encode()
    slow = question(rows, "/v1/models/digits:predict")
    with server.connect() as connection:
        reader = Reader(connection)
        connection.sendall(slow + b"POST / HTTP/1.1\r\nx: " + b"a" * 400_000)
        assert reader.response()[0] == 200
        reader.close()


def test_what_is_no_http_is_told_in_json(server: Live) -> None:
    status, _, body = exchange(server, b"HELO there\r\n\r\n")[0]
    assert status == 400
    assert json.loads(body)["error"].startswith("request: cannot be read as HTTP/1.1")


def test_a_client_that_goes_on_sending_reads_its_refusal(server: Live) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300)
        for _ in range(20):
            connection.sendall(b"x: " + b"y" * 1000 + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 431 ")
