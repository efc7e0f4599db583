"""The access log: one line a request, whatever answered it."""

from __future__ import annotations

import logging
import time
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

log = logging.getLogger("tutti.access")


def logged(app: ASGIApp) -> ASGIApp:
    """The application with a line to `tutti.access` for each request that it answered."""

    async def logging_app(scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = size = 0

        async def counting(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message["body"])
            await send(message)

        try:
            await app(scope, receive, counting)
        finally:
            _write(cast("HTTPScope", scope), status, size, time.perf_counter() - started)

    return logging_app


def client_of(scope: HTTPScope) -> str:
    """The peer's address; '' where the transport has none."""
    client = scope.get("client")
    return client[0] if client else ""


def _write(scope: HTTPScope, status: int, size: int, seconds: float) -> None:
    """Client, method, path, status (0: the client left first), bytes, milliseconds; the path's own quotes and
    control characters escaped, so that no client writes lines.
    """
    log.info("%s %s %r %d %d B %.2f ms", client_of(scope), scope["method"], scope["path"], status, size, seconds * 1e3)
