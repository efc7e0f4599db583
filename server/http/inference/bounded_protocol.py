"""uvicorn's httptools protocol with bounds on what a client may send before its request can be refused by others.

The parser keeps a header until its end, and uvicorn keeps all of them: without a bound a client that never ends its
head takes all memory (measured: 200 MB in two seconds). What is counted is not each header, which would cost every
request, but the bytes that came since the parser last got on.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.errors import MalformedRequest, ServerError
from server.http.codec.errors import HeadTooLarge, error_reply
from server.http.codec.reply import Reply, head_of

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers; also trailers, and what else of a chunked body is no body. nginx's default is 32 KiB."""
MAX_FIELDS = 200
"""Header fields of one request; Apache's default is 100."""
LINGER_BYTES = 1024 * 1024
LINGER_S = 2.0
"""How much of a refused request, and how long, is read and dropped, so that the client gets to read the refusal."""


class BoundedProtocol(HttpToolsProtocol):
    """As uvicorn's; a head above the limits is answered 431 while it comes, and the connection is closed."""

    _unread = 0
    """Bytes since the parser last came to the end of a head, to a part of a body, or to the end of a message."""
    _seen = 0
    """The same as it was when the last bytes came: no head that ends in them is longer."""
    _refusal: ServerError | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.headers = []

    def data_received(self, data: bytes) -> None:
        self._seen = self._unread = self._unread + len(data)
        super().data_received(data)
        if (self._unread > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS) and not self._refused:
            self._refuse(_too_large(len(self.headers)))

    def on_headers_complete(self) -> None:
        self._check_head()
        super().on_headers_complete()
        self.headers = []  # the scope has them; trailers are no part of it

    def _check_head(self) -> None:
        """Let the parser fail where the head that has just ended is above a limit."""
        fields = len(self.headers)
        if fields > MAX_FIELDS or (self._seen > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES):
            self._refusal = _too_large(fields)
            raise self._refusal
        self._unread = 0

    def _head_bytes(self) -> int:
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls where the parser has failed."""
        if not self._refused:
            self._refuse(self._refusal or MalformedRequest(f"request: cannot be read as HTTP/1.1 ({msg.rstrip('.')})"))

    def refusal(self, error: ServerError) -> Reply:
        """The reply to a request that could not be read."""
        return error_reply(error)

    def _refuse(self, error: ServerError) -> None:
        """Answer, where no other answer is still to come before it, and close."""
        self._refused = True
        cycle: Any = self.cycle
        mine = cycle is not None and not cycle.response_complete and cycle.more_body
        if cycle is not None and not cycle.response_complete and not mine:
            cycle.keep_alive = False  # the answers that are on their way are given, then the connection closes
            self._linger(closes=False)
            return
        started = mine and getattr(cycle, "response_started", False)
        if mine:
            cycle.disconnected = True
            cycle.message_event.set()
        if not started and not self.pipeline:
            reply = self.refusal(error)
            end = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(reply.body)
            self.transport.write(b"".join((head_of(reply.status, reply.headers), end, reply.body)))
        self._linger(closes=True)

    def _linger(self, *, closes: bool) -> None:
        self.transport.set_protocol(cast("asyncio.BaseProtocol", _Lingering(self, closes=closes)))


class _Lingering(asyncio.Protocol):
    """Takes the place of a protocol whose client is not listened to any more; drops what it sends.

    A client that still sends while the connection is closed under it sees a reset and never reads the answer.
    """

    def __init__(self, behind: BoundedProtocol, *, closes: bool) -> None:
        self._behind = behind
        self._closes = closes
        self._left = LINGER_BYTES
        self._timer: asyncio.TimerHandle | None = None
        if not closes:
            behind.flow.pause_reading()
            return
        if behind.transport.can_write_eof():
            behind.transport.write_eof()
        self._timer = behind.loop.call_later(LINGER_S, behind.transport.close)

    def data_received(self, data: bytes) -> None:
        if not self._closes:
            self._behind.flow.pause_reading()  # what answers has resumed it
            return
        self._left -= len(data)
        if self._left < 0:
            self._behind.transport.close()

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._behind.connection_lost(exc)


def _too_large(fields: int) -> HeadTooLarge:
    given = f"{fields} fields" if fields > MAX_FIELDS else f"more than {MAX_HEAD_BYTES} bytes"
    return HeadTooLarge(
        f"headers: {given} given, at most {MAX_FIELDS} fields and {MAX_HEAD_BYTES} bytes with the path are taken"
    )
