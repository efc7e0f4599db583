"""The composition root: owns the tasks, the signals and the order of start and shutdown.

SIGTERM or SIGINT: not ready → (drain delay) → stop accepting → finish in flight within the grace period → free the
ensembles → exit 0. A second signal ends it at once. A background task that crashes ends the process with status 1.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

# Read while numpy is imported: its BLAS would keep a pool of its own beside the lanes' threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from litestar import Litestar

from model_repo import misplaced, nested
from model_repo.cli.command_line import Parser
from server import logs
from server.front.frames import App
from server.front.http_server import HttpServer, http_server
from server.front.supervisor import Fronts
from server.front.supervisor import listeners as front_listeners
from server.http import create_app
from server.http.app import Surface
from server.http.inference.bounded_protocol import BoundedProtocol
from server.http.inference.protocol import protocol_for
from server.metrics import Metrics
from server.serving.manager import Manager
from server.settings import Settings, SettingsError, add_arguments, load
from server.time_slices import prefer_soon

log = logging.getLogger("tutti.main")


GC_THRESHOLDS = 20_000, 20, 50
"""New containers before the young are looked at, and how many such looks before the older are."""


class StartError(Exception):
    """The server cannot start; the message says what is in the way."""


def main(argv: Sequence[str], announce: Callable[[str], None] = lambda _: None) -> int:
    """`tutti serve`; `announce` is called with the server's address once every ensemble has been loaded or refused."""
    parser = Parser(
        prog="tutti serve",
        description="Serve the ensembles of a model repository. Every flag is also a variable TUTTI_… and a key of "
        "tutti.toml; flags win over variables, variables over the file.",
    )
    add_arguments(parser)
    try:
        settings = load(vars(parser.parse_args(list(argv))))
        return serve(settings, announce)
    except (SettingsError, StartError) as error:
        print(f"tutti serve: {error}", file=sys.stderr)
        return 2


def refused(argv: Sequence[str]) -> int:
    """Whether `tutti serve` could not start with these flags once its repository is there: 2, said why; 0 else."""
    parser = Parser(prog="tutti demo")
    add_arguments(parser)
    try:
        settings = load(vars(parser.parse_args(list(argv))))
        for listener in _listen(settings.host, settings.port):
            listener.close()
    except (SettingsError, StartError) as error:
        print(f"tutti demo: {error}", file=sys.stderr)
        return 2
    return 0


def serve(settings: Settings, announce: Callable[[str], None] = lambda _: None) -> int:
    """Serve until a signal comes; returns the exit status. Raises StartError."""
    logs.configure(settings)
    _check_repository(settings.repository)
    data = _listen(settings.host, settings.port, settings.fronts)
    control = [] if settings.control_port is None else _listen(settings.control_host, settings.control_port)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_Process(settings, data, control, announce).run())


class _Process:
    """One run of the server, from its listeners to its exit status."""

    def __init__(
        self,
        settings: Settings,
        data: Sequence[socket.socket],
        control: Sequence[socket.socket],
        announce: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._addresses = [_address(listener) for listener in (data[0], *control)]
        self._reaches = [_reach(listener) for listener in (data[0], *control)]
        self._announce = announce
        self._metrics = Metrics()
        self._manager = Manager(settings, self._metrics)
        self._stopping = asyncio.Event()
        surface: Surface = "data" if control else "all"
        self._servers = [(self._server("control"), listener) for listener in control]
        self._fronts: Fronts | None = None
        if settings.fronts:
            app = self._app(surface)
            try:
                self._fronts = Fronts(
                    settings, self._manager, self._metrics, cast(App, app), app.state.rate, list(data)
                )
            except OSError as error:
                raise StartError(f"--fronts: {error}") from error
        else:
            self._servers.append((self._server(surface), data[0]))

    async def run(self) -> int:
        prefer_soon()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        async with asyncio.TaskGroup() as owner:
            manager = owner.create_task(self._manager.run(), name="manager")
            servers = [
                owner.create_task(server.serve(sockets=[listener]), name="http") for server, listener in self._servers
            ]
            if self._fronts is not None:
                servers.append(owner.create_task(self._fronts.run(), name="fronts"))
            announcer = owner.create_task(self._announce_when_ready(), name="announce")
            await self._stopping.wait()
            announcer.cancel()
            await self._stop(servers)
            manager.cancel()
        await self._manager.close()
        log.info("stopped")
        return 0

    async def _stop(self, servers: Sequence[asyncio.Task[None]]) -> None:
        self._manager.start_closing()
        if self._settings.drain_delay_s:
            log.info("not ready; the listener closes in %g s", self._settings.drain_delay_s)
            await asyncio.sleep(self._settings.drain_delay_s)
        for server, _ in self._servers:
            server.should_exit = True
        if self._fronts is not None:
            self._fronts.stop()
        await asyncio.wait(servers)

    def _signalled(self, number: int) -> None:
        if self._stopping.is_set():
            log.warning("second signal: leaving at once")
            for server, _ in self._servers:
                server.force_exit = True
            if self._fronts is not None:
                self._fronts.kill()
            return
        log.info("%s: finishing what is in flight, up to %g s", signal.Signals(number).name,
                 self._settings.shutdown_grace_s)  # fmt: skip
        self._stopping.set()

    async def _announce_when_ready(self) -> None:
        log.info("listening on %s", ", ".join(map("".join, zip(self._addresses, self._reaches, strict=True))))
        await self._manager.wait_settled()
        if self._fronts is not None:
            await self._fronts.listening()
        self._manager.readiness.announce()
        _tame_collector()
        self._announce(self._addresses[0])

    def _protocol(self, app: Litestar, surface: Surface) -> type[asyncio.Protocol]:
        """The short way in, but where each request is to be logged or none is a prediction."""
        if self._settings.access_log or surface == "control":
            return BoundedProtocol
        return protocol_for(app.state.inference, app.state.rate, cors=bool(self._settings.cors_origins))

    def _app(self, surface: Surface) -> Litestar:
        return create_app(self._manager, self._metrics, self._settings, surface=surface)

    def _server(self, surface: Surface) -> HttpServer:
        app, settings = self._app(surface), self._settings
        protocol = self._protocol(app, surface)
        return http_server(app, protocol, settings, max_connections=settings.max_connections)


def _check_repository(path: str) -> None:
    if not Path(path).is_dir():
        raise StartError(
            f"the model repository '{path}' is not a folder; "
            "create it, or publish into it with 'tutti export' or 'tutti publish'"
        )
    if (above := misplaced(path)) is not None:
        raise StartError(above)
    if (inside := nested(path)) is not None:
        log.warning(inside)


def _listen(host: str, port: int, fronts: int = 0) -> list[socket.socket]:
    """One listening socket, or one for each front."""
    try:
        found = front_listeners(host, port, max(1, fronts))
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    for listener in found:
        listener.setblocking(False)
    return found


def _reach(listener: socket.socket) -> str:
    """What else to say of the address: whether every address of IPv6 is every one of IPv4 too."""
    if listener.family != socket.AF_INET6 or listener.getsockname()[0] != "::":
        return ""
    only = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return " (IPv6 only: --host 0.0.0.0 is IPv4)" if only else " (IPv6 and IPv4)"


def _reason(error: OSError) -> str:
    """The system's word for it and the way out; the library's own text has the address once more."""
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; stop it or choose another --port"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _tame_collector() -> None:
    """Keep Python's cycle collector from walking everything that was loaded, again and again, under load.

    What is here now stays; the requests in flight are freed by their reference counts and make no cycles (measured:
    6% of a tiny ensemble's processor time, and pauses of tens of milliseconds).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
