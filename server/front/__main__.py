"""A front process: started by the engine with a listener and a link, and obedient to it alone.

SIGINT and SIGTERM are ignored: a terminal's Ctrl-C and a service manager's stop reach every process of the group, and
the engine decides when each is to drain. When the engine is gone, requests in flight are answered 503 and the process
leaves with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import shutil
import signal
import socket
import sys
from pathlib import Path

import msgspec

from server import logs
from server.front.counts import Counts
from server.front.http_server import HttpServer, http_server
from server.front.inference import FrontInference
from server.front.link import EngineLink
from server.front.messages import Setup
from server.front.protocol import protocol_of
from server.front.tunnel import Tunnel
from server.http.app import limits_of
from server.http.inference.bounded_protocol import BoundedProtocol
from server.settings import Settings
from server.time_slices import prefer_soon

log = logging.getLogger("tutti.front")


def main() -> int:
    """Serve until the engine says stop, or is gone; returns the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="python -m server.front", description="Started by 'tutti serve --fronts N'.")
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument("--link", type=int, required=True, help="file descriptor of the socket to the engine")
    arguments = parser.parse_args()
    listener, link = (socket.socket(fileno=number) for number in (arguments.listener, arguments.link))
    try:
        import uvloop
    except ImportError:
        return asyncio.run(run(listener, link))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(listener, link))


async def run(listener: socket.socket, socket_to_engine: socket.socket) -> int:
    """One front from its sockets to its exit status."""
    prefer_soon()
    counts = Counts()
    link = EngineLink(counts)
    loop = asyncio.get_running_loop()
    await loop.create_unix_connection(lambda: link, sock=socket_to_engine)
    setup = await link.setup
    settings = msgspec.json.decode(setup.settings, type=Settings)
    logs.configure(settings)
    server = _server(setup, settings, link, counts)
    serving = loop.create_task(server.serve(sockets=[listener]), name="http")
    stopping = loop.create_task(link.stopping.wait(), name="stop")
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    if link.closed:
        log.error("front %d: the engine has stopped; leaving", setup.index)
        await asyncio.to_thread(shutil.rmtree, Path(setup.tunnel).parent, ignore_errors=True)  # what it left behind
        return 1
    link.flush()
    link.close()
    await link.gone.wait()
    return 0


def _server(setup: Setup, settings: Settings, link: EngineLink, counts: Counts) -> HttpServer:
    inference = FrontInference(link, counts, limits_of(settings))
    share = -(-settings.max_connections // settings.fronts)

    protocol = protocol_of(inference, limited=bool(settings.rate_limit_rps), cors=bool(settings.cors_origins))

    def started() -> None:
        gc.collect()
        gc.freeze()  # measured: collections of what stays for ever are most of the p99 (docs/decisions)
        link.listening()

    return http_server(
        Tunnel(setup.tunnel, link.tell),
        # The engine logs requests: then every prediction takes the long way there.
        BoundedProtocol if settings.access_log else protocol,
        settings,
        max_connections=share,
        started=started,
    )


if __name__ == "__main__":
    sys.exit(main())
