"""HTTP/1.1 as the load generator speaks it: an address, a request's bytes, a connection.

httpx gives 1,000–2,000 requests/s on one core, mostly its own work; this gives ten times that, so that
what is measured is the server. One request is in flight on a connection at most: no pipelining.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from loadtest.errors import TargetError

MAX_REPLY_BYTES = 256 << 20
"""A reply larger than this ends the connection: the generator must not be what runs out of memory."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: scheme, host, port and the path in front of `/v2`."""

    scheme: str
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """The address in `url`; raises TargetError where it is none."""
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            port = parts.port
        except ValueError as error:
            raise TargetError(f"'{url}' is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TargetError(f"'{url}' is not a server's URL; expected http://HOST:PORT")
        default = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname, default if port is None else port, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"


def request_bytes(
    address: Address, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """The whole request, ready to be written; `path` begins with a slash, without the address's prefix."""
    lines = [f"{method} {address.prefix}{path} HTTP/1.1", f"Host: {address.authority}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `json_bytes` is the length of the JSON part of a binary answer, else None."""

    status: int
    body: bytes
    json_bytes: int | None


class Connection(asyncio.Protocol):
    """One keep-alive connection; event-loop thread only.

    `on_reply(connection, reply)` is called for each answer, `on_lost(connection, reason)` once, when the
    connection ends, whether or not a request was in flight (`busy`).
    """

    def __init__(
        self,
        number: int,
        on_reply: Callable[[Connection, Reply], None],
        on_lost: Callable[[Connection, str], None],
    ) -> None:
        self.number = number
        self.busy = False
        self.scheduled = 0.0  # of the request in flight; the load's own, kept here to save a lookup
        self.started = 0.0
        self.usable = True
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._violation = ""
        self._json_bytes: int | None = None
        self._reset()

    def send(self, request: bytes) -> None:
        """Write one request; a bug if one is in flight already."""
        if self.busy or self._transport is None:
            raise RuntimeError("a request on a connection that is busy or closed is a bug")
        self.busy = True
        self._transport.write(request)

    def close(self) -> None:
        """Drop the connection at once, whatever is in flight."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self._violation = "bytes that no request asked for"
        else:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError as error:
                self._violation = f"not HTTP/1.1: {error}"
        if self._violation:
            self.close()
        elif self._complete:
            self._deliver()

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._transport = None
        if self.busy and self._until_close and not error and not self._violation:
            self._deliver()
        reason = self._violation or (str(error) if error else "closed by the server")
        self._on_lost(self, reason)

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            self._violation = "a second answer to one request"

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.lower()
        if key in (b"content-length", b"transfer-encoding"):
            self._framed = True
        elif key == b"inference-header-content-length" and value.isdigit():
            self._json_bytes = int(value)

    def on_headers_complete(self) -> None:
        self._until_close = not self._framed

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > MAX_REPLY_BYTES:
            self._violation = f"an answer of more than {MAX_REPLY_BYTES} bytes"

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # 100 Continue and its kin: the answer is still to come
            self._reset()
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()

    def _deliver(self) -> None:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        reply = Reply(self._parser.get_status_code(), body, self._json_bytes)
        if not (self._complete and self._keep_alive):
            self.usable = False
            if self._transport is not None:
                self._transport.close()
        self.busy = False
        self._reset()
        self._on_reply(self, reply)

    def _reset(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._json_bytes = None
        self._framed = False
        self._until_close = False
        self._complete = False
        self._keep_alive = False


async def connect(
    address: Address,
    number: int,
    on_reply: Callable[[Connection, Reply], None],
    on_lost: Callable[[Connection, str], None],
) -> Connection:
    """An open connection; raises OSError where the server does not take it."""
    context = ssl.create_default_context() if address.scheme == "https" else None
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(number, on_reply, on_lost), address.host, address.port, ssl=context
    )
    return connection


async def exchange(address: Address, request: bytes, timeout_s: float) -> Reply:
    """One request on a connection of its own; raises TargetError where no answer comes."""
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def replied(_: Connection, reply: Reply) -> None:
        if not answer.done():
            answer.set_result(reply)

    def lost(_: Connection, reason: str) -> None:
        if not answer.done():
            answer.set_exception(TargetError(f"{address}: no answer: {reason}"))

    try:
        async with asyncio.timeout(timeout_s):
            connection = await connect(address, 0, replied, lost)
            try:
                connection.send(request)
                return await answer
            finally:
                connection.close()
    except TimeoutError as error:
        raise TargetError(f"{address}: no answer within {timeout_s:g} s") from error
    except OSError as error:
        raise TargetError(f"{address}: cannot connect: {error.strerror or error}") from error
