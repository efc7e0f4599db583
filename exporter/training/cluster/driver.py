"""The process that talks to Ray. Nothing here imports Ray before the environment is as it must be."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

from exporter.errors import ExportError
from exporter.training.cluster.messages import Connected, Finished, Order, Refused
from exporter.training.engines.engine import Event, Given

Message = Connected | Refused | Finished | Event
_END_S = 25.0


def main(connection: Connection, folder: Path, workers: int, cpus: int, address: str | None) -> None:
    """Connect, train what is ordered, and shut down, however this ends."""
    os.setsid()  # Ctrl-C is the export's to understand
    _print_to(folder / "log")
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    from exporter.training.cluster.connecting import connected

    try:
        with connected(folder, cpus, address) as there:
            signal.signal(signal.SIGTERM, _end)  # Ray has one of its own
            own = Connected(workers or there)
            connection.send(own)
            _serve(connection, own.workers, there)
    except ExportError as error:
        connection.send(Refused(str(error)))
    finally:
        if (parent := parent_process()) is not None and not parent.is_alive():
            shutil.rmtree(folder, ignore_errors=True)  # the rows are in it, and nobody else is left to remove them


def _serve(connection: Connection, workers: int, cpus: int) -> None:
    """Until the other end is closed."""
    from exporter.training.cluster.trainings import Trainings

    while True:
        try:
            order: Order = connection.recv()
        except EOFError:
            return
        with order.context.open("rb") as stream:
            given: Given = pickle.load(stream)  # noqa: S301 - our own parent wrote it, into a private folder
        for outcome in Trainings(order.tasks, given, workers, cpus, connection.send).outcomes():
            connection.send(outcome)
        connection.send(Finished())


def _print_to(log: Path) -> None:
    """What Ray and its libraries print is nobody's progress."""
    sys.stdout.flush()
    sys.stderr.flush()
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.close(stream)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    """However the export died: the cluster is shut down, and if that takes too long it dies with this process."""
    parent = parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_END_S)
    os._exit(1)
