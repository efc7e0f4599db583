"""The front's application for everything but short predictions: the engine's own application, called from here.

Not a proxy that speaks HTTP again: uvicorn here and the application there exchange the very ASGI messages that they
would exchange in one process, so answers, early refusals, `Expect: 100-continue`, streaming and a client's leaving are
the same by construction.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from server.errors import NotReady
from server.front.frames import (
    BODY,
    CHUNK,
    CRASH,
    END,
    GO,
    LAST_CHUNK,
    LEFT,
    QUIT,
    SCOPE,
    START,
    Receive,
    Scope,
    Send,
    Start,
    Wire,
    head_of,
)
from server.http.codec.errors import error_reply

MAX_CONNECTIONS = 256
"""Requests of one front in the tunnel at a time; the next waits. Each holds a file on either side."""

log = logging.getLogger("tutti.front")
_starts = msgspec.msgpack.Decoder(Start)


class Tunnel:
    """An ASGI application that is the engine's. `before` is called ahead of each request."""

    def __init__(self, path: str, before: Callable[[], None]) -> None:
        self._path = path
        self._before = before
        self._idle: list[Wire] = []
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, from its scope to its answer."""
        self._before()
        async with self._room:
            exchange = _Exchange(receive, send)
            try:
                wire = await self._wire()
            except OSError:
                await exchange.unavailable()
                return
            clean = False
            try:
                clean = await exchange.run(wire, scope)
            except EOFError:
                await exchange.unavailable()
            finally:
                if clean:
                    self._idle.append(wire)
                else:
                    wire.close()

    async def _wire(self) -> Wire:
        while self._idle:
            wire = self._idle.pop()
            if not wire.broken:
                return wire
            wire.close()
        return Wire(*await asyncio.open_unix_connection(self._path))


class _Exchange:
    """One request in the tunnel."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._started = False
        self._body_sent = False
        self._left = False

    async def run(self, wire: Wire, scope: Scope) -> bool:
        """Whether the connection can carry another request. Raises EOFError when the engine goes."""
        await wire.write(SCOPE, head_of(scope))
        upload: asyncio.Task[None] | None = None
        try:
            while True:
                kind, payload = await wire.read()
                if kind == GO:
                    upload = asyncio.get_running_loop().create_task(self._upload(wire), name="tunnel upload")
                elif kind in (END, QUIT):
                    if kind == END:
                        await self._send({"type": "http.response.body", "body": payload, "more_body": False})
                    return upload is None or (self._body_sent and not self._left)
                else:
                    await self._pass(kind, payload)
        finally:
            if upload is not None:
                upload.cancel()
                with contextlib.suppress(asyncio.CancelledError, EOFError):
                    await upload

    async def _pass(self, kind: int, payload: bytes) -> None:
        if kind == START:
            start = _starts.decode(payload)
            self._started = True
            await self._send({"type": "http.response.start", "status": start.status, "headers": start.headers})
        elif kind == BODY:
            await self._send({"type": "http.response.body", "body": payload, "more_body": True})
        elif kind == CRASH:
            raise RuntimeError("the engine's application raised; its log says what")
        else:
            raise AssertionError(f"frame {kind} in a tunnel: this is a bug")

    async def _upload(self, wire: Wire) -> None:
        """The body as it comes, then the client's leaving."""
        while not self._left:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left = True
                await wire.write(LEFT)
            elif message.get("more_body", False):
                await wire.write(CHUNK, message["body"])
            elif not self._body_sent:
                await wire.write(LAST_CHUNK, message["body"])
                self._body_sent = True

    async def unavailable(self) -> None:
        """Say that the engine is gone, where nothing has been said yet."""
        if self._started:
            raise ConnectionResetError("the engine stopped in the middle of an answer")
        reply = error_reply(NotReady("the engine has stopped"))
        await self._send({"type": "http.response.start", "status": reply.status, "headers": reply.all_headers()})
        await self._send({"type": "http.response.body", "body": reply.body, "more_body": False})
