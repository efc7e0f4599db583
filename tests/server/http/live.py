"""The HTTP layer over stand-ins behind a real uvicorn on a free port, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import uvicorn

from server.http import create_app
from server.http.inference.bounded_protocol import BoundedProtocol
from server.http.inference.protocol import protocol_for
from server.secret import Secret
from server.settings import Settings
from tests.server.http.standin import Manager, Metrics, all_servables

Way = Literal["short", "long"]
TOKEN = "a-token-for-the-tests"


class Live:
    """A running server: its port, its stand-ins and what was counted."""

    def __init__(self, way: Way, settings: dict[str, Any], keep_alive_s: int) -> None:
        self.manager = Manager(*all_servables())
        self.metrics = Metrics()
        standin, metrics = _untyped(self.manager), _untyped(self.metrics)
        self.app = create_app(standin, metrics, Settings(control_token=Secret(TOKEN), **settings))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        cors = bool(settings.get("cors_origins"))
        state = self.app.state
        protocol = protocol_for(state.inference, state.rate, cors=cors) if way == "short" else BoundedProtocol
        self.server = uvicorn.Server(
            uvicorn.Config(
                self.app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                timeout_keep_alive=keep_alive_s,
                timeout_graceful_shutdown=2,
            )
        )
        self.loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            await self.server._serve([self.listener])
            # Clients of some tests do not read what they asked for, and uvicorn leaves their connections to the exit.
            for connection in list(self.server.server_state.connections):
                if (transport := getattr(connection, "transport", None)) is not None:
                    transport.abort()
            for _ in range(3):
                await asyncio.sleep(0)

        asyncio.run(serve())

    def connect(self) -> socket.socket:
        """A raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextmanager
def live(way: Way, keep_alive_s: int = 30, **settings: Any) -> Iterator[Live]:
    """A server on a free port; `settings` are fields of `Settings`."""
    running = Live(way, settings, keep_alive_s)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        running.server.should_exit = True
        thread.join(10)
        running.listener.close()
        assert not thread.is_alive()


def _untyped(value: object) -> Any:
    return value
