"""The ranks of a torchrun that runs this command, on any number of nodes: the first drives and trains, others train."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from torch.distributed import Store  # type: ignore[attr-defined]  # its list of exports lacks it
from torch.distributed.rendezvous import rendezvous

from exporter.errors import ExportError
from exporter.training.engines.engine import Given, Outcome, Task, Tell
from exporter.training.engines.environment import Place
from exporter.training.engines.follower import Follower
from exporter.training.engines.rank import PATIENCE, Rank
from exporter.training.engines.run_folder import RunFolder
from exporter.training.engines.torchrun import LOOK_S, check_ranks

_BEGUN = "begun"


class Joined:
    """The first rank's engine; all ranks see the work folder."""

    name = "torchrun"

    def __init__(self, place: Place) -> None:
        self._place, self.workers = place, place.ranks

    def run(self, tasks: Sequence[Task], given: Given, tell: Tell) -> Generator[Outcome, None, None]:
        """See `Engine`. What an earlier start of the same ranks has done is done."""
        check_ranks(tasks, self.workers)
        folder = _folder(given.work, self._place)
        if not self._place.restart:
            shutil.rmtree(folder.path, ignore_errors=True)
        folder.create()
        follower = Follower(folder, tasks, tell)
        try:
            folder.hand_over(tasks)
            store = _store()
            store.set(_BEGUN, "1")
            rank = _rank(self._place, folder, tasks, given, store)
            rank.observed = follower.look
            with _letting_go(rank):
                for _ in rank.serve():
                    yield from follower.outcomes()
                while follower.open:
                    yield from follower.outcomes()
                    time.sleep(LOOK_S)
        finally:
            if not follower.open:
                shutil.rmtree(folder.path, ignore_errors=True)


def serve(place: Place, given: Given) -> None:
    """Train what the first rank hands over. Raises ExportError where this rank has other rows than the first."""
    store = _store()
    store.set_timeout(PATIENCE)
    store.get(_BEGUN)
    folder = _folder(given.work, place)
    try:
        tasks = folder.tasks()
    except FileNotFoundError as error:
        raise ExportError(f"rank {place.rank}: --work {given.work} is not the folder that rank 0 sees") from error
    if tasks and tasks[0].jobs[0].digest(given.dataset, given.split) != tasks[0].digest:
        raise ExportError(f"rank {place.rank} has other rows or other versions of libraries than rank 0")
    rank = _rank(place, folder, tasks, given, store)
    with _letting_go(rank):
        for _ in rank.serve():
            pass


def _rank(place: Place, folder: RunFolder, tasks: Sequence[Task], given: Given, store: Store) -> Rank:
    return Rank(folder, given, tasks, store, place.rank, place.ranks, place.restart)


def _folder(work: Path, place: Place) -> RunFolder:
    return RunFolder(work / f"torchrun-{re.sub(r'[^A-Za-z0-9_-]', '_', place.run)[:64]}")


def _store() -> Store:
    """Where the agent says that ranks meet."""
    found: Store = next(rendezvous("env://"))[0]
    return found


@contextmanager
def _letting_go(rank: Rank) -> Iterator[None]:
    """The agent ends all ranks when one has died: what the others have is not the reason."""

    def end(number: int, frame: FrameType | None) -> None:
        rank.let_go()
        os._exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
