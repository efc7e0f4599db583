"""One prediction request, from bytes to bytes, for whatever reads sockets around it.

Nothing here knows a web framework: `answer` is all that a protocol class or an ASGI application needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from itertools import islice, repeat
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from server.errors import ServerError, Superseded
from server.http.codec import templates
from server.http.codec.call import Call
from server.http.codec.compression import decompress
from server.http.codec.errors import Outcome, error_reply, internal_error_reply, row_of
from server.http.codec.limits import OFF_LOOP_BYTES, Limits
from server.http.codec.oip.response import encode_answer
from server.http.codec.reply import Reply
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature, Signatures
from server.http.inference.exchange import Exchange
from server.http.inference.formats import FEW_NUMBERS, decoded, encoded_reply, heavy_to_decode, heavy_to_encode

if TYPE_CHECKING:
    from server.metrics import Metrics
    from server.serving.batching.answer import Answer
    from server.serving.manager import Manager
    from server.serving.servable import Servable

ATTEMPTS = 8
"""Swaps that one request may run into between routing and submission before it gives up with 503."""

T = TypeVar("T")


class Inference:
    """Answers prediction requests. Event-loop thread only; heavy decoding and encoding go to `executor`."""

    def __init__(self, manager: Manager, metrics: Metrics, limits: Limits, executor: Executor | None = None) -> None:
        self.limits = limits
        self._manager = manager
        self._metrics = metrics
        self._executor = executor
        self._signatures = Signatures()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals: list[Exchange] = []
        self.open = 0
        """Exchanges that are on their way: while there are others, an answer may wait to be written with theirs."""

    async def answer(self, call: Call, body: bytes) -> Reply:
        """The reply, errors included; only cancellation passes through, and withdraws the request."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        exchange = self.answer_nowait(call, body, lambda found: None if reply.done() else reply.set_result(found))
        try:
            return await reply
        except asyncio.CancelledError:
            exchange.cancel()
            raise

    def answer_nowait(self, call: Call, body: bytes, deliver: Callable[[Reply], None]) -> Exchange:
        """The same without a task: `deliver` gets the reply from the event loop; cancelled, it gets nothing.

        Counts the request by its outcome. One whose decoding or encoding would hold up the loop gets a task after all.
        """
        exchange = Exchange(self, call, body, deliver)
        self.open += 1
        self._arrivals.append(exchange)
        if len(self._arrivals) == 1:
            asyncio.get_running_loop().call_soon(self._begin_arrivals)
        return exchange

    def _begin_arrivals(self) -> None:
        """Route, decode and queue what has arrived: together, as that takes a third less than one by one."""
        arrivals, self._arrivals = self._arrivals, []
        known: Call | None = None
        asked: dict[Servable, None] = {}
        ahead: Iterator[templates.Known | None] | None = None
        for place, exchange in enumerate(arrivals):
            call = exchange.call
            try:
                if call is not known:
                    known = ahead = None
                    servable, signature = self._route(exchange)
                    known = call
                exchange.ensemble, exchange.version = signature.ensemble, signature.version_text
                exchange.signature = signature
                body = exchange.body
                if ahead is None:
                    servable.check_room()
                    ahead = _ahead(arrivals, place, signature)
                    alike = next(ahead)
                else:
                    alike = next(ahead)
                    servable.check_room()
                if exchange.done():
                    continue  # its client left already
                if alike is not None:
                    request, feeds = alike
                elif call.content_encoding is not None or heavy_to_decode(call, body, signature):
                    self._in_task(exchange)
                    continue
                else:
                    request = self._decode_now(call, body, signature)
                    feeds, exchange.id = request.feeds, request.id
                exchange.request = request
                deadline = exchange.started + (request.timeout_s or signature.timeout_s)
                servable.ask(feeds, request.rows, request.outputs, deadline, exchange)
                asked[servable] = None
            except Superseded:
                self._in_task(exchange)
            except ServerError as error:
                error.__traceback__ = None  # it holds this frame, which holds the exchange, which holds the error
                exchange.set_exception(error)
            except Exception as error:
                exchange.set_exception(error)
        for servable in asked:  # behind all: those that were asked in turn shall have their batches all the same
            servable.begin()

    def refuse(self, error: ServerError) -> Reply:
        """The reply to a request that went wrong before its body was read, counted."""
        self._metrics.request("", "", row_of(error)[1], 0.0)
        return error_reply(error)

    def abandoned(self) -> None:
        """Count a request whose client left before its body was there."""
        self._metrics.request("", "", "cancelled", 0.0)

    async def _predict(self, exchange: Exchange) -> tuple[Reply, Outcome]:
        """The reply, in a task: whatever would hold up the loop is done elsewhere, and swaps are tried again."""
        call, body = exchange.call, exchange.body
        if call.content_encoding is not None:
            body = await self._off_loop(partial(decompress, body, call.content_encoding, self.limits.max_body_bytes))
        for attempt in range(1, ATTEMPTS + 1):
            servable, signature = self._route(exchange)
            servable.check_room()
            decode = partial(self._decode_known, call, body, signature)
            request = await self._off_loop(decode) if heavy_to_decode(call, body, signature) else decode()
            exchange.id = request.id
            deadline = exchange.started + (request.timeout_s or signature.timeout_s)
            try:
                answer = await servable.submit(request.feeds, request.rows, request.outputs, deadline)
            except Superseded:
                if attempt == ATTEMPTS:
                    raise
                continue
            encode = partial(encoded_reply, call, request, answer, signature)
            reply = await self._off_loop(encode) if heavy_to_encode(call, request, answer) else encode()
            return reply, "degraded" if answer.missing else "ok"
        raise AssertionError("the last attempt raises: this is a bug")

    def _route(self, exchange: Exchange) -> tuple[Servable, Signature]:
        target = exchange.call.target
        servable = self._manager.route(target.name, target.version, target.label)
        signature = self._signatures.of(servable)
        exchange.ensemble, exchange.version = signature.ensemble, signature.version_text
        return servable, signature

    def _decode_known(self, call: Call, body: bytes, signature: Signature) -> InferRequest:
        """The same as `_decode_now`, by what is known of requests alike first."""
        if call.plain and (known := templates.decoded(body, call.header_bytes, signature)) is not None:
            request, feeds = known
            return replace(request, feeds=feeds)
        return self._decode_now(call, body, signature)

    def _decode_now(self, call: Call, body: bytes, signature: Signature) -> InferRequest:
        return decoded(call, body, signature, self.limits)

    def landed(self, exchange: Exchange) -> None:
        """The batch is through: encode and deliver."""
        if exchange.cancelled():
            self._withdrawn(exchange)
            return
        outcome: Outcome
        error = exchange.exception()
        if error is None:
            answer = exchange.result()
            call, request = exchange.call, exchange.request
            outcome = "degraded" if answer.missing else "ok"
            try:
                few = request.rows * exchange.signature.row_numbers <= FEW_NUMBERS
                if not few and heavy_to_encode(call, request, answer):
                    self._own(self._encoded_elsewhere(exchange, answer, outcome))
                    return
                if call.plain and call.accept_encoding is None:
                    encoded = encode_answer(request, answer.outputs, exchange.signature, answer.missing)
                else:
                    encoded = encoded_reply(call, request, answer, exchange.signature)
            except Exception as bug:
                encoded, outcome = _failure(bug, exchange)
        else:  # not raised here: its traceback would hold the exchange, which holds it, until the collector comes
            encoded, outcome = _failure(error, exchange)
        if outcome == "ok":
            self._deliver(exchange, encoded)
            self._answered(exchange)  # behind the answer, which need not wait for it
        else:
            self._count(exchange, outcome)
            self._deliver(exchange, encoded)

    def _deliver(self, exchange: Exchange, reply: Reply) -> None:
        self.open -= 1
        exchange.deliver(reply)

    def _answered(self, exchange: Exchange) -> None:
        """Count a good answer with the others of its batch."""
        answered = exchange.signature.answered
        answered.append(monotonic() - exchange.started)
        if len(answered) == 1:
            asyncio.get_running_loop().call_soon(self._count_answered, exchange.signature)

    def _count_answered(self, signature: Signature) -> None:
        self._metrics.answered(signature.ensemble, signature.version_text, signature.answered)
        signature.answered.clear()

    async def _encoded_elsewhere(self, exchange: Exchange, answer: Answer, outcome: Outcome) -> None:
        try:
            encode = partial(encoded_reply, exchange.call, exchange.request, answer, exchange.signature)
            reply = await self._off_loop(encode)
        except Exception as error:
            reply, outcome = _failure(error, exchange)
        self._count(exchange, outcome)
        self._deliver(exchange, reply)

    def _in_task(self, exchange: Exchange) -> None:
        async def answer() -> None:
            try:
                reply, outcome = await self._predict(exchange)
            except Exception as error:
                reply, outcome = _failure(error, exchange)
            self._count(exchange, outcome)
            exchange.work = None
            self._deliver(exchange, reply)

        exchange.work = work = self._own(answer())
        # Not inside: one that is cancelled at once never begins.
        work.add_done_callback(lambda ended: self._withdrawn(exchange) if ended.cancelled() else None)

    def _withdrawn(self, exchange: Exchange) -> None:
        self.open -= 1
        self._count(exchange, "cancelled")

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that is referred to until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _count(self, exchange: Exchange, outcome: Outcome) -> None:
        self._metrics.request(exchange.ensemble, exchange.version, outcome, monotonic() - exchange.started)

    async def _off_loop(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _ahead(arrivals: Sequence[Exchange], place: int, signature: Signature) -> Iterator[templates.Known | None]:
    """What templates know of the request at `place` and of those behind it that are the same call, one by one."""
    call = arrivals[place].call
    if not call.plain:
        return repeat(None)
    if place == len(arrivals) - 1:
        return iter((_if_short(arrivals[place].body, call.header_bytes, signature),))
    bodies = []
    longest = 0
    for one in islice(arrivals, place, None):
        if one.call is not call:
            break
        bodies.append(one.body)
        longest = max(longest, len(one.body))
    if longest > OFF_LOOP_BYTES:
        return (_if_short(body, call.header_bytes, signature) for body in bodies)
    if call.header_bytes is not None:
        return iter(templates.all_binary(bodies, call.header_bytes, signature))
    return iter(templates.all_decoded(bodies, signature))


def _if_short(body: bytes, header_bytes: int | None, signature: Signature) -> templates.Known | None:
    """What templates know of a request that may be decoded on the loop."""
    if header_bytes is None and len(body) > OFF_LOOP_BYTES:
        return None
    return templates.decoded(body, header_bytes, signature)


def _failure(error: BaseException, exchange: Exchange) -> tuple[Reply, Outcome]:
    """Any error as reply and outcome; one that nobody foresaw gives the client an id and the log the traceback."""
    if isinstance(error, ServerError):
        return error_reply(error), row_of(error)[1]
    return internal_error_reply(error, exchange.id), "error"
