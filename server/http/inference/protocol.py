"""The short way in: prediction requests answered inside uvicorn's httptools protocol.

Litestar costs 35–100 µs a request, a small ensemble computes for 20 (measured, docs/performance.md). So a POST to
an infer or predict path whose body is short and whose headers ask for nothing special is decoded, queued and
answered here; every other request goes to the application unchanged, on the same connection, in its turn.
Decoding, limits, errors and metrics are the same functions on both ways.
"""

from __future__ import annotations

import asyncio
import http
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from server.errors import ServerError
from server.http.codec.call import Call, call_of
from server.http.codec.errors import BodyTimeout
from server.http.codec.reply import Headers, Reply, head_of
from server.http.inference.bounded_protocol import BoundedProtocol
from server.http.inference.exchange import Exchange
from server.http.inference.head_cache import HeadCache, Split, split
from server.http.inference.inference import Inference
from server.http.inference.paths import Route, parse_route
from server.http.inference.rate_limit import RateLimit

SHORT_BODY_BYTES = 2 * 1024 * 1024
"""Longer bodies take the long way, which stops reading while they are not consumed. An image of 3 × 224 × 224 is 0.6 MB
as raw float32 and about 1 MB as JSON."""
KNOWN_PATHS = 4096
"""Paths remembered; a client that asks for more makes them be parsed anew, nothing else."""
SPECIAL = frozenset({b"expect", b"transfer-encoding", b"upgrade", b"content-encoding", b"accept-encoding"})
"""Headers that send a request the long way; `accept-encoding` only where it names a coding that we have."""

_HEADS: dict[tuple[int, Headers], bytes] = {}


class PredictionCycle:
    """One request on the short way, with the face that uvicorn's protocol expects of a cycle; called with its reply."""

    __slots__ = ("body", "call", "disconnected", "keep_alive", "message_event", "more_body", "pending", "protocol",
                 "response_complete", "rest")  # fmt: skip

    def __init__(self, protocol: PredictionProtocol, call: Call, keep_alive: bool) -> None:
        self.protocol = protocol
        self.call = call
        self.keep_alive = keep_alive
        self.body = b""
        self.rest: bytearray | None = None  # one buffer: a client may send a byte at a time
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.pending: Exchange | None = None
        self.message_event = _Nobody

    def __call__(self, reply: Reply) -> None:
        """Write the answer and go on with what the client pipelined."""
        self.response_complete = True
        self.pending = None  # it refers to this cycle: what waits for the collector is memory that is cold when reused
        protocol = self.protocol
        if self.disconnected or protocol.transport.is_closing():
            return
        if not self.keep_alive:
            protocol.write(reply, keep_alive=False)
            protocol.transport.close()
        else:
            protocol.write(reply, keep_alive=True)
        if protocol.pipeline or not self.keep_alive:
            protocol.on_response_complete()
            return
        protocol.server_state.total_requests += 1
        if protocol.flow.read_paused:
            protocol.flow.resume_reading()
        protocol._idle_since = protocol.loop.time()


class _Nobody:
    """The event that nobody waits for: a short cycle has no task."""

    @staticmethod
    def set() -> None:
        """Nothing to wake."""


class PredictionProtocol(BoundedProtocol):
    """uvicorn's httptools protocol with the prediction paths answered in it."""

    inference: Inference
    rate: RateLimit | None
    special = SPECIAL
    routes: dict[bytes, Route | None]
    heads = HeadCache()
    outbox: list[tuple[asyncio.Transport, bytes]] = []  # noqa: RUF012 - one for all connections of a class
    _short: PredictionCycle | None = None
    """The newest request, where it took the short way."""
    _reading_head = False
    _slow_timer: asyncio.TimerHandle | None = None
    _between = True
    """Whether the parser has read whole messages only."""
    _last_head: Split | None = None
    _longest = SHORT_BODY_BYTES

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # uvicorn arms this only behind an answer, so that a client that never asks stays for ever, and anew behind
        # each: two timers a request. One for the connection that looks when it was last busy does both.
        self._idle_since: float | None = self.loop.time()
        self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._check_idle)

    def _check_idle(self) -> None:
        """Close the connection when it has been idle for the keep-alive time; else look again when it would be."""
        idle_s = 0.0 if self._idle_since is None else self.loop.time() - self._idle_since
        if idle_s < self.timeout_keep_alive:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive - idle_s, self._check_idle)
        else:
            self.timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None  # what uvicorn calls at every sign of life

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self._between and self._answer_known(data):
            return
        super().data_received(data)
        if self._between and self._short is not None:
            self._learn(data, self._short)
        if self._reading_head or (self._short is not None and self._short.more_body):
            if self._slow_timer is None:
                self._slow_timer = self.loop.call_later(self.inference.limits.body_timeout_s, self._too_slow)
        elif self._slow_timer is not None:
            self._slow_timer.cancel()
            self._slow_timer = None

    def _answer_known(self, data: bytes) -> bool:
        """Answer a whole request whose head is known, without parsing it; False where it must be parsed."""
        head, digits, body = split(data)
        known = self.heads.get(head)
        if known is None or len(digits) > 7 or not digits.isdigit() or int(digits) != len(body):
            return False
        cycle: Any = self.cycle
        limit = self.limit_concurrency
        if (
            len(body) > self._longest
            or (cycle is not None and not cycle.response_complete)
            or self.flow.write_paused
            or (limit is not None and self._crowded())
        ):
            return False
        self._idle_since = None
        self._short = cycle = PredictionCycle(self, known, keep_alive=True)
        self.cycle = cast(RequestResponseCycle, cycle)
        cycle.more_body = False
        cycle.pending = self.inference.answer_nowait(known, body, cycle)
        return True

    def _learn(self, data: bytes, cycle: PredictionCycle) -> None:
        """Remember the head of a request that came whole, the second time that this connection sends it."""
        head, digits, body = split(data)
        if self.rate is not None or not cycle.keep_alive or digits != (cycle.call.content_length or "").encode():
            return
        if head == self._last_head and len(body) == int(digits):
            self.heads.add(head, cycle.call)
        self._last_head = head

    def _too_slow(self) -> None:
        """The client trickles its head or its short body: say so and close."""
        self._slow_timer = None
        seconds = self.inference.limits.body_timeout_s
        part = "headers" if self._reading_head else "body"
        reply = self.inference.refuse(BodyTimeout(f"{part}: did not arrive within {seconds:g} s"))
        if self._short is not None:
            self._short.response_complete = True
        if not self._busy():
            self.write(reply, keep_alive=False)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._reading_head = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._special = False
        self._between = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self.special and (name != b"accept-encoding" or b"gzip" in value or b"deflate" in value):
            self._special = True
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._check_head()
        self._reading_head = False
        if not self._start_short():
            self._start_long()

    def _start_short(self) -> bool:
        """Whether the request may take the short way, which it then does."""
        if self._special or self.parser.get_method() != b"POST" or self._busy() or self._crowded():
            return False
        route = self._route()
        if route is None:
            return False
        try:
            call = call_of(route[0], route[1], self.headers)
            length = call.content_length
            if length is None or not length.isdigit() or len(length) > 7 or int(length) > self._longest:
                return False
            if self.rate is not None:
                self.rate.take(self.client[0] if self.client else "")
        except ServerError:
            return False  # the long way refuses it again, with all that a refusal before the body needs
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self._short = PredictionCycle(self, call, keep_alive)
        self.cycle = cast(RequestResponseCycle, self._short)
        return True

    def _busy(self) -> bool:
        """An earlier request of this connection is not answered, or its answers are not read."""
        return (self.cycle is not None and not self.cycle.response_complete) or self.flow.write_paused

    def _crowded(self) -> bool:
        limit = self.limit_concurrency
        return limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)

    def _route(self) -> Route | None:
        try:
            return self.routes[self.url]
        except KeyError:
            if len(self.routes) >= KNOWN_PATHS:
                self.routes.clear()
            found = self.routes[self.url] = parse_route(self.url)
            return found

    def _start_long(self) -> None:
        """What uvicorn does, with the scope that `on_message_begin` there makes for every request."""
        self._short = None
        self.scope = {  # type: ignore[typeddict-item]
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        cycle = self._short
        if cycle is not None:
            if not cycle.body:
                cycle.body = body
            elif cycle.rest is None:
                cycle.rest = bytearray(body)
            else:
                cycle.rest += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._between = True
        self._unread = 0
        cycle = self._short
        if cycle is None:
            super().on_message_complete()
            return
        cycle.more_body = False
        if cycle.rest is not None:
            cycle.body, cycle.rest = cycle.body + cycle.rest, None
        if not cycle.response_complete:
            cycle.pending = self.inference.answer_nowait(cycle.call, cycle.body, cycle)

    def refusal(self, error: ServerError) -> Reply:
        return self.inference.refuse(error)

    def write(self, reply: Reply, *, keep_alive: bool) -> None:
        """Send an answer; with those of the same turn of the loop, in one go; the last one at once."""
        head = _HEADS.get((reply.status, reply.headers)) or _head(reply.status, reply.headers)
        end = (
            b"%bcontent-length: %d\r\n\r\n%b" if keep_alive else b"%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"
        )
        outbox = self.outbox
        outbox.append((self.transport, end % (head, len(reply.body), reply.body)))
        if not keep_alive or self.inference.open <= 0:  # the connection closes at once, or nobody else waits
            self._flush()
        elif len(outbox) == 1:
            self.loop.call_soon(self._flush)

    def shutdown(self) -> None:
        """As uvicorn's, behind what is still to be written."""
        self._flush()
        super().shutdown()

    @classmethod
    def _flush(cls) -> None:
        """Write what there is to write, of all connections: a client that is woken reads on while the rest comes."""
        for transport, data in cls.outbox:
            if not transport.is_closing():
                transport.write(data)
        cls.outbox.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle_timer.cancel()
        if self._slow_timer is not None:
            self._slow_timer.cancel()
        cycle = self._short
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            if cycle.pending is not None:
                cycle.pending.cancel()
            else:
                self.inference.abandoned()
        super().connection_lost(exc)
        if cycle is not None:
            # It refers to this protocol: clients of one request a connection must not make work for the collector.
            cycle.pending = self._short = self.cycle = None  # type: ignore[assignment]


def protocol_for(inference: Inference, rate: RateLimit | None, *, cors: bool = False) -> type[PredictionProtocol]:
    """A protocol class for uvicorn's `http` setting, bound to one inference; `cors` where other origins may ask."""

    class Bound(PredictionProtocol):
        pass

    Bound.inference, Bound.rate, Bound.routes, Bound.heads = inference, rate, {}, HeadCache()
    Bound.outbox, Bound.special = [], special_of(cors)
    Bound._longest = min(SHORT_BODY_BYTES, inference.limits.max_body_bytes)
    return Bound


def special_of(cors: bool) -> frozenset[bytes]:
    """The headers that send a request the long way: what browsers must be told of origins is added there."""
    return SPECIAL | {b"origin"} if cors else SPECIAL


def _head(status: int, headers: Headers) -> bytes:
    """The status line and the headers; those of good answers are few and kept."""
    head = head_of(status, headers)
    if status == http.HTTPStatus.OK:
        if len(_HEADS) >= KNOWN_PATHS:
            _HEADS.clear()
        _HEADS[status, headers] = head
    return head
