"""uvicorn as every process of the server runs it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from server.settings import Settings

BACKLOG = 2048
"""Connections the kernel queues before accept; uvicorn's default."""


class HttpServer(uvicorn.Server):
    """uvicorn's server without its signal handlers: after SIGTERM nothing behind `serve` would run with them."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._on_start = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()


def http_server(
    app: Any,  # uvicorn and Litestar each have types of their own for one ASGI application
    protocol: type[asyncio.Protocol],
    settings: Settings,
    *,
    max_connections: int,
    started: Callable[[], None] = lambda: None,
) -> HttpServer:
    """A server for `app` whose connections `protocol` reads; `started` is called once it accepts."""
    return HttpServer(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            limit_concurrency=max_connections or None,
            timeout_keep_alive=int(settings.keep_alive_s),
            timeout_graceful_shutdown=int(settings.shutdown_grace_s),
        ),
        started,
    )
