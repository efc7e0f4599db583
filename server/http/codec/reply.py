"""What goes back to the client, before any framework has touched it."""

from __future__ import annotations

import http
from dataclasses import dataclass

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]

JSON = (b"content-type", b"application/json")
BINARY = (b"content-type", b"application/octet-stream")
HEADER_LENGTH = b"inference-header-content-length"

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)  # not frozen: that takes four times as long to make, and there is one for each request
class Reply:
    """A whole answer: status, headers in lower case without the content length, and the body."""

    status: int
    headers: Headers
    body: bytes

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers with the body's length."""
        return [*self.headers, (b"content-length", b"%d" % len(self.body))]


def head_of(status: int, headers: Headers) -> bytes:
    """The status line and the headers, without the empty line."""
    line = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n".encode("ascii")
    return line + b"".join(b"%b: %b\r\n" % header for header in headers)


def json_reply(content: object, status: int = 200, headers: Headers = ()) -> Reply:
    """`content` as JSON; NaN and infinities become null."""
    return Reply(status, (JSON, *headers), _encoder.encode(content))
