"""The application on a real port: uvicorn in a thread, over the stand-in manager."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import uvicorn

from server.http.app import Surface, create_app
from server.http.inference.bounded_protocol import BoundedProtocol
from server.http.inference.protocol import protocol_for
from server.secret import Secret
from server.settings import Settings
from tests.server.http.standin import Manager, Metrics, all_servables

Way = Literal["litestar", "short"]
TOKEN = "a token of the tests"
T = TypeVar("T")


@dataclass
class Running:
    """A server under test."""

    port: int
    manager: Manager
    metrics: Metrics
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def on_loop(self, work: Callable[[], T]) -> T:
        """Run `work` on the server's event loop and wait for it."""

        async def call() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self.listening = started
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.listening.set()


@contextmanager
def running(
    way: Way = "litestar", manager: Manager | None = None, surface: Surface = "all", **settings: Any
) -> Iterator[Running]:
    """A server until the block ends; `settings` as in `Settings`."""
    metrics: Any = Metrics()
    standin: Any = manager or Manager(*all_servables())
    app = create_app(standin, metrics, Settings(**{"control_token": Secret(TOKEN), **settings}), surface=surface)
    cors = bool(settings.get("cors_origins"))
    protocol = BoundedProtocol if way == "litestar" else protocol_for(app.state.inference, app.state.rate, cors=cors)
    config = uvicorn.Config(app, port=0, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
    listening = threading.Event()
    server = _Server(config, listening)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    try:
        assert listening.wait(10), "the server does not start"
        assert server.loop is not None
        yield Running(server.servers[0].sockets[0].getsockname()[1], standin, metrics, server.loop)
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
