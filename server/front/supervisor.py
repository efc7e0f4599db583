"""The engine's fronts: starts them, starts them again when they die, and stops them in the order of a drain."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from server.front.engine import FrontLink, ServedIds
from server.front.frames import App
from server.front.http_server import BACKLOG
from server.front.messages import Setup
from server.front.tunnel_server import TunnelServer
from server.http.inference.rate_limit import RateLimit
from server.metrics import Metrics
from server.settings import Settings

if TYPE_CHECKING:
    from server.serving.manager import Manager

LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of a unix socket's path."""
FIRST_DELAY_S = 0.05
LAST_DELAY_S = 5.0
"""Back-off between a front's death and its successor: doubled each time, and forgotten after a quiet minute."""
QUIET_S = 60.0
LEAVE_S = 5.0
"""What a front may take beyond the grace period before it is killed."""

log = logging.getLogger("tutti.front")


class Fronts:
    """All fronts of one engine. Event-loop thread only."""

    def __init__(
        self,
        settings: Settings,
        manager: Manager,
        metrics: Metrics,
        app: App,
        rate: RateLimit | None,
        listeners: list[socket.socket],
    ) -> None:
        """`app` answers what is no short prediction; `rate` is the one that it counts requests with."""
        self._settings = settings
        self._folder = tempfile.TemporaryDirectory(prefix="tutti-")  # mode 0700
        self._tunnel_path = str(Path(self._folder.name) / "engine.sock")
        if (length := len(os.fsencode(self._tunnel_path))) > LONGEST_PATH:
            self._folder.cleanup()
            raise OSError(
                f"the path of the fronts' socket, '{self._tunnel_path}', has {length} bytes, at most {LONGEST_PATH} "
                "are taken; TMPDIR names another folder"
            )
        self._tunnel = TunnelServer(app, self._tunnel_path)
        self._stopping = asyncio.Event()
        self._metrics = metrics
        ids = ServedIds()

        def link(gone: Callable[[], None]) -> FrontLink:
            return FrontLink(manager, metrics, ids, rate, gone)

        self._fronts = [Front(index, listener, link) for index, listener in enumerate(listeners)]
        metrics.source("tutti_fronts", lambda: float(sum(front.listening for front in self._fronts)))

    async def run(self) -> None:
        """Keep every front running until `stop`, then return when all have left."""
        shown = msgspec.structs.replace(self._settings, control_token=None, control_token_file=None)
        try:
            await self._tunnel.start()
            async with asyncio.TaskGroup() as owner:
                for front in self._fronts:
                    setup = Setup(msgspec.json.encode(shown), self._tunnel_path, front.index)
                    owner.create_task(self._keep(front, setup), name=f"front {front.index}")
        finally:
            await self._tunnel.close()
            self._folder.cleanup()

    async def listening(self) -> None:
        """Return once every front accepts connections."""
        for front in self._fronts:
            await front.first_listening.wait()

    def stop(self) -> None:
        """Stop accepting everywhere; what is in flight is finished."""
        self._stopping.set()
        for front in self._fronts:
            front.stop(self._settings.shutdown_grace_s + LEAVE_S)

    def kill(self) -> None:
        """End every front at once."""
        self.stop()
        for front in self._fronts:
            front.kill()

    async def _keep(self, front: Front, setup: Setup) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY_S
        while not self._stopping.is_set():
            started = loop.time()
            status = await front.run(setup)
            if self._stopping.is_set():
                break
            if not front.first_listening.is_set():
                raise RuntimeError(f"front {front.index} cannot start: it ended with status {status}")
            delay = FIRST_DELAY_S if loop.time() - started > QUIET_S else delay
            log.error("front %d ended with status %d; it is started again in %g s", front.index, status, delay)
            self._metrics.cell("tutti_front_restarts_total").value += 1
            try:
                await asyncio.wait_for(self._stopping.wait(), delay)
            except TimeoutError:
                delay = min(2 * delay, LAST_DELAY_S)


class Front:
    """One place for a front process; the processes that hold it come and go, its listener stays open."""

    def __init__(
        self, index: int, listener: socket.socket, new_link: Callable[[Callable[[], None]], FrontLink]
    ) -> None:
        self.index = index
        self.first_listening = asyncio.Event()
        self._listener = listener
        self._new_link = new_link
        self._link: FrontLink | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    @property
    def listening(self) -> bool:
        """Whether a process accepts connections here now."""
        return self._link is not None and self._link.listening.is_set()

    async def run(self, setup: Setup) -> int:
        """Start a process and return its exit status."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        link = self._new_link(self._link_lost)
        link.on_listening = self.first_listening.set
        try:
            files = (self._listener.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "server.front", "--listener", str(files[0]), "--link", str(files[1])),
                pass_fds=files,
                stdin=asyncio.subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # a terminal's Ctrl-C is for the engine, which drains its fronts in order
            )
        finally:
            theirs.close()
        self._process = process
        await loop.create_unix_connection(lambda: link, sock=ours)
        self._link = link
        link.welcome(setup)
        if self._stopped:
            link.stop()
        try:
            return await process.wait()
        finally:
            link.close()
            if process.returncode is None:
                process.kill()
            self._link = self._process = None

    def stop(self, within_s: float) -> None:
        """Stop accepting; a process that is still there after `within_s` is killed."""
        self._stopped = True
        self._listener.close()
        if self._link is not None:
            self._link.stop()
        asyncio.get_running_loop().call_later(within_s, self.kill)

    def kill(self) -> None:
        """End the process, if there is one."""
        if self._process is not None and self._process.returncode is None:
            log.warning("front %d is killed", self.index)
            self._process.kill()

    def _link_lost(self) -> None:
        self._link = None


def listeners(host: str, port: int, fronts: int) -> list[socket.socket]:
    """One listening socket for each front, all on one address; raises OSError.

    On Linux the kernel spreads connections evenly over sockets that share a port. Processes that share one socket
    take what they can get: measured, 64 connections came as 3 and 61 (docs/decisions). The engine keeps every
    socket open, so that connections queued on a dead front's are served by its successor. Every address of IPv6, `::`,
    is every one of IPv4 too where the system can do that.
    """
    family, _, _, _, resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    both = family == socket.AF_INET6 and resolved[0] == "::" and socket.has_dualstack_ipv6()

    def listener(address: tuple[str, int], *, shared: bool) -> socket.socket:
        return socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=shared, dualstack_ipv6=both)

    # Alone first: sharing would hide that another server has this port.
    with listener((host, port), shared=False) as probe:
        address = probe.getsockname()
        if fronts == 1 or not sys.platform.startswith("linux"):
            return [probe.dup() for _ in range(fronts)]
    return [listener(address[:2], shared=True) for _ in range(fronts)]


def _environment() -> dict[str, str]:
    """The engine's own, without the control token, and with the packages where the engine found them."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUTTI_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}
