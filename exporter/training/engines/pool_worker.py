"""A process of the local pool: it takes tasks from a pipe until its parent is gone or has no more."""

from __future__ import annotations

import os
import pickle
import select
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from exporter.optimisation.run import EpochDone
from exporter.training.engines.engine import Given, Result, Task
from exporter.training.engines.worker import Failure, Seldom, attempt

_SMALL = 4000
"""Bytes of a report that a pipe with room takes at once."""


@dataclass(frozen=True)
class Ready:
    """The process has begun and knows the rows."""


@dataclass(frozen=True)
class Part:
    """A task for a process: its rank among those that train it together, who meet by a file."""

    task: Task
    rank: int = 0
    meeting: Path | None = None
    """None: it trains the task alone."""


@dataclass(frozen=True)
class Report:
    """What an attempt came to; None of all but a gang's first."""

    found: Result | Failure | None


Message = Ready | EpochDone | Report


def main(connection: Connection, context: Path) -> None:
    """Take parts and answer each with a report, with epochs in between."""
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # By way of Python's own end: libraries that are cut off leave semaphores, of which a line on stderr tells.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    threading.Thread(target=_leave_with_parent, args=(context.parent,), name="parent-watch", daemon=True).start()
    import torch

    torch.set_num_threads(1)
    with context.open("rb") as stream:
        given: Given = pickle.load(stream)  # noqa: S301 - our own parent wrote it, into a private folder
    connection.send(Ready())
    while True:
        try:
            part: Part = connection.recv()
        except EOFError:
            return
        connection.send(Report(_done(part, given, _sender(connection))))


def _done(part: Part, given: Given, observe: Callable[[EpochDone], None]) -> Result | Failure | None:
    if part.meeting is None:
        return attempt(part.task, given, observe)
    from exporter.training.engines.gang import attempt_together, meeting_by_file

    store = meeting_by_file(part.meeting, part.task.ranks)
    found = attempt_together(part.task, given, observe, store, part.rank)
    return found if part.rank == 0 or isinstance(found, Failure) else None


def _sender(connection: Connection) -> Seldom:
    """Reports go where there is room: a parent that does not read holds up no training."""

    def send(done: EpochDone) -> None:
        _, free, _ = select.select([], [connection.fileno()], [], 0)
        if free and len(pickle.dumps(done)) < _SMALL:
            connection.send(done)

    return Seldom(send)


def _leave_with_parent(folder: Path) -> None:
    """End this process when its parent is gone, however that died: no orphan trains on, no rows stay in `folder`."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
