"""A front's inference and an engine's link over stand-ins, in one loop with a real socket between."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from server.front.counts import Counts
from server.front.engine import FrontLink, ServedIds
from server.front.inference import FrontInference
from server.front.link import EngineLink
from server.http.codec.call import Call, target_of
from server.http.codec.reply import Reply
from server.http.inference.exchange import Exchange
from server.http.inference.inference import Inference
from server.metrics import Metrics
from tests.server.http.standin import SMALL, Manager
from tests.server.http.standin import Metrics as Counted


@dataclass
class Pair:
    """Both ends: `manager` routes in the engine, `front` answers."""

    manager: Manager
    metrics: Metrics
    engine: FrontLink
    link: EngineLink
    front: FrontInference
    alone: Inference
    """What one process over the same manager would answer."""

    def ask(
        self, body: object, name: str = "pair", version: str | None = None
    ) -> tuple[asyncio.Future[Reply], Exchange]:
        """A request on the short way: its reply to come, and what withdraws it."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return reply, self.front.answer_nowait(Call("v2", target_of(name, version)), content, reply.set_result)

    async def both(self, body: object, name: str = "pair", version: str | None = None) -> tuple[Reply, Reply]:
        """The front's reply, and that of one process."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        alone = await self.alone.answer(Call("v2", target_of(name, version)), content)
        return await self.ask(body, name, version)[0], alone


def untyped(value: object) -> Any:
    return value


@asynccontextmanager
async def pair(manager: Manager) -> AsyncIterator[Pair]:
    """Both ends, connected."""
    loop = asyncio.get_running_loop()
    metrics, counts = Metrics(), Counts()
    engine = FrontLink(untyped(manager), metrics, ServedIds(), None, lambda: None)
    link = EngineLink(counts)
    ours, theirs = socket.socketpair()
    for end, protocol in ((ours, engine), (theirs, link)):
        end.setblocking(False)
        await loop.create_unix_connection(lambda protocol=protocol: protocol, sock=end)  # type: ignore[misc]
    alone = Inference(untyped(manager), untyped(Counted()), SMALL)
    try:
        yield Pair(manager, metrics, engine, link, FrontInference(link, counts, SMALL), alone)
    finally:
        link.close()
        engine.close()
        await link.gone.wait()
