"""The engine's end of the tunnels: runs its application for requests that fronts have read."""

from __future__ import annotations

import asyncio
import logging

import msgspec

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
    App,
    Message,
    Start,
    Wire,
    scope_of,
)

WAITING_CHUNKS = 4
"""Body chunks read ahead of the application; the front, and so the client, waits with the next."""
BACKLOG = 1024

log = logging.getLogger("tutti.front")


class TunnelServer:
    """Listens on a unix socket that only the server's own processes reach."""

    def __init__(self, app: App, path: str) -> None:
        self._app = app
        self._path = path
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept from now on."""
        self._server = await asyncio.start_unix_server(self._accept, self._path, backlog=BACKLOG)

    async def close(self) -> None:
        """Stop accepting and end what is left; call when the fronts have gone."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(Wire(reader, writer)), name="tunnel")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, wire: Wire) -> None:
        """One connection: a request, then the next, until the front closes it."""
        exchange: Exchange | None = None
        task: asyncio.Task[None] | None = None
        try:
            while True:
                kind, payload = await wire.read()
                if kind == SCOPE:
                    exchange = Exchange(wire)
                    task = asyncio.get_running_loop().create_task(exchange.run(self._app, payload), name="tunnel app")
                elif exchange is not None:
                    await exchange.feed(kind, payload)
        except EOFError:
            if exchange is not None and task is not None:
                exchange.leave()
                await asyncio.wait([task])
        finally:
            if task is not None:
                task.cancel()
            wire.close()


class Exchange:
    """One request: what the application receives and sends."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(WAITING_CHUNKS)
        self._gone = asyncio.Event()
        self._asked = False
        self._ended = False

    async def run(self, app: App, payload: bytes) -> None:
        """Run the application on a SCOPE frame's payload."""
        try:
            await app(scope_of(payload), self._receive, self._send)
        except Exception:
            log.exception("a request failed unexpectedly")
        try:
            if not self._ended:
                self._ended = True
                await self._wire.write(QUIT if self._gone.is_set() else CRASH)
        except EOFError:
            pass  # the front has gone, and the client with it
        finally:
            self._ended = True
            self._discard_if_ended()

    async def feed(self, kind: int, payload: bytes) -> None:
        """A frame of the front; waits while the application has enough to read."""
        if kind == LEFT:
            self.leave()
        elif not self._ended:
            assert kind in (CHUNK, LAST_CHUNK), f"frame {kind} in a tunnel: this is a bug"
            await self._inbox.put({"type": "http.request", "body": payload, "more_body": kind == CHUNK})
            self._discard_if_ended()

    def leave(self) -> None:
        """The client, or the front itself, has gone."""
        self._gone.set()

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            await self._tell(GO)
        if not self._inbox.empty():
            return self._inbox.get_nowait()
        message = asyncio.ensure_future(self._inbox.get())
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((message, gone), return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else {"type": "http.disconnect"}
        finally:
            message.cancel()
            gone.cancel()

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            await self._tell(START, msgspec.msgpack.encode(Start(message["status"], headers)))
        elif message.get("more_body", False):
            await self._tell(BODY, message.get("body", b""))
        else:
            self._ended = True
            await self._tell(END, message.get("body", b""))

    async def _tell(self, kind: int, payload: bytes = b"") -> None:
        """Send; to a front that has gone, say nothing: the application hears of it when it receives."""
        try:
            await self._wire.write(kind, payload)
        except EOFError:
            self.leave()

    def _discard_if_ended(self) -> None:
        """Make room, so that whoever feeds this goes on to the next request."""
        while self._ended and not self._inbox.empty():
            self._inbox.get_nowait()
