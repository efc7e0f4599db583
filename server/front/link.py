"""A front's end of the link: a cache of what serves, and the requests that wait for the engine."""

from __future__ import annotations

import asyncio
from time import monotonic

from server.errors import NotReady, Overloaded, Superseded
from server.front.bundle import array_of
from server.front.counts import Counts
from server.front.faults import error_of
from server.front.messages import Ask, Failure, FromEngine, FromFront, Result, Setup, Submit
from server.front.remote import RemoteAnswer, RemoteEntry, RemoteServable, RemoteVersion, Reply, Route, version_of
from server.front.stream import Stream

MAX_OUTSTANDING = 4096
"""Requests of one front in the engine at a time; the next is answered 503. More than wait unless the engine stands
still, or very small requests come by the ten thousand: what may wait there is a matter of time (`max_queue_wait_s`)."""
MAX_OUTSTANDING_BYTES = 256 << 20
"""The same for the bytes of their rows."""
KEPT_ROUTES = 1024
"""Routes remembered; beyond that all are asked for anew."""
COUNT_PERIOD_S = 0.25
"""How long a finished request may be missing from the engine's `/metrics`."""


class EngineLink(Stream[FromEngine, FromFront]):
    """A front's end of the link, with the one method of Manager that Inference uses. Event-loop thread only."""

    def __init__(self, counts: Counts) -> None:
        super().__init__(FromEngine, FromFront)
        self.setup: asyncio.Future[Setup] = self._loop.create_future()
        self.stopping = asyncio.Event()
        self.gone = asyncio.Event()
        self._counts = counts
        self._ids = 0
        self._versions: dict[int, RemoteVersion] = {}
        self._routes: dict[Route, RemoteServable] = {}
        self._replies: dict[int, Reply] = {}
        self._bytes = 0
        self._asked: dict[int, tuple[Route, asyncio.Future[RemoteServable]]] = {}

    def route(self, name: str, version: int | None = None, label: str | None = None) -> RemoteServable:
        """What answers, as last heard; Superseded where that must be asked first (`learn`)."""
        found = self._routes.get((name, version, label))
        if found is None:
            raise Superseded(f"ensemble '{name}': the engine has not been asked yet")
        return found

    async def learn(self, route: Route, client: str = "", *, refusing: bool = False) -> RemoteServable:
        """What answers now; `client` and `refusing` as in Ask.

        Raises what the engine's own routing raises, RateLimited, or NotReady when the engine is gone.
        """
        self._check_room(0)
        self._ids += 1
        answer: asyncio.Future[RemoteServable] = self._loop.create_future()
        self._asked[self._ids] = (route, answer)
        self.outbox.asks.append(Ask(self._ids, *route, client, refusing))
        self.soon()
        return await answer

    def submit(self, remote: RemoteVersion, route: Route, client: str, entry: RemoteEntry) -> None:
        """Send an entry that was decoded for `remote`; raises Overloaded or NotReady."""
        reply = entry.reply
        self._check_room(reply.bytes)
        self._ids += 1
        reply.id, reply.version, reply.route = self._ids, remote.manifest.version, route
        self._replies[reply.id] = reply
        self._bytes += reply.bytes
        body = self.body
        self.outbox.submits.append(
            Submit(
                reply.id, remote.id, *route, entry.rows, tuple(entry.outputs),
                entry.deadline, monotonic(), [body.add(array) for array in entry.feeds.values()], client,
            )
        )  # fmt: skip
        self.soon()

    def withdraw(self, reply: Reply) -> None:
        """Nobody waits for this reply any more."""
        if self._forget(reply.id) is not None:
            self.outbox.cancelled.append(reply.id)
            self.soon()

    def listening(self) -> None:
        """Tell the engine that connections are accepted, and count from now on."""
        self.outbox.listening = True
        self.soon()
        self._loop.call_later(COUNT_PERIOD_S, self._count)

    def tell(self) -> None:
        """Tell now what was counted: the next request may read it."""
        if self._counts.waiting:
            self.flush()

    def flush(self) -> None:
        """Write what there is to say, and what was counted with it."""
        self.outbox.counts.extend(self._counts.take())
        super().flush()

    def _count(self) -> None:
        if self.closed:
            return
        if self._counts.waiting:
            self.soon()
        self._loop.call_later(COUNT_PERIOD_S, self._count)

    def took(self, message: FromEngine, body: memoryview) -> None:
        if message.setup is not None:
            self.setup.set_result(message.setup)
        if message.forget:
            self._versions.clear()
            self._routes.clear()
        for served in message.served:
            self._versions[served.id] = version_of(served)
        for known in message.known:
            route, answer = self._asked.pop(known.id)
            servable = self._learnt(route, known.served)
            if not answer.done():
                answer.set_result(servable)
        for result in message.results:
            self._answered(result, body)
        for failure in message.failures:
            self._failed(failure)
        if message.stop:
            self.stopping.set()

    def lost(self) -> None:
        gone = NotReady("the engine has stopped")
        self.gone.set()
        self.stopping.set()
        if not self.setup.done():
            self.setup.set_exception(gone)
            self.setup.exception()  # taken note of: whoever awaits it still gets it
        for reply in list(self._replies.values()):
            self._failed(Failure(reply.id, "NotReady", str(gone)))
        for id in list(self._asked):
            self._failed(Failure(id, "NotReady", str(gone)))

    def _answered(self, result: Result, body: memoryview) -> None:
        reply = self._forget(result.id)
        if reply is None or reply.done():
            return
        outputs = {name: array_of(tensor, body) for name, tensor in zip(result.names, result.outputs, strict=True)}
        reply.set_result(RemoteAnswer(outputs, result.missing, reply.version, result.queue_s, result.compute_s))

    def _failed(self, failure: Failure) -> None:
        if (asked := self._asked.pop(failure.id, None)) is not None:
            route, answer = asked
            self._routes.pop(route, None)
            if not answer.done():
                answer.set_exception(error_of(failure))
            return
        reply = self._forget(failure.id)
        if reply is None:
            return
        if failure.served:
            self._learnt(reply.route, failure.served)
        if not reply.done():
            reply.set_exception(error_of(failure))

    def _learnt(self, route: Route, served: int) -> RemoteServable:
        remote = self._versions[served]
        found = self._routes.get(route)
        if found is None or found.remote is not remote:
            if len(self._routes) >= KEPT_ROUTES:
                self._routes.clear()
            found = self._routes[route] = RemoteServable(self, remote, route)
        return found

    def _forget(self, id: int) -> Reply | None:
        reply = self._replies.pop(id, None)
        if reply is not None:
            self._bytes -= reply.bytes
        return reply

    def _check_room(self, size: int) -> None:
        if self.closed:
            raise NotReady("the engine has stopped")
        waiting = len(self._replies) + len(self._asked)
        if waiting >= MAX_OUTSTANDING or (self._bytes and self._bytes + size > MAX_OUTSTANDING_BYTES):
            raise Overloaded(f"{waiting} requests of this front, {self._bytes} bytes, wait for the engine", 1.0)
