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

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]  # its list of exports lacks them
from torch.distributed.rendezvous import rendezvous

from exporter.errors import ExportError
from exporter.training.engines.engine import Given, Outcome, Task, Tell
from exporter.training.engines.environment import Place
from exporter.training.engines.follower import Follower
from exporter.training.engines.rank import PATIENCE, Rank
from exporter.training.engines.run_folder import RunFolder
from exporter.training.engines.torchrun import LOOK_S, check_ranks

_TRAIN, _OVER = "train", "over"


class Joined:
    """The first rank's engine; all ranks see the work folder."""

    name = "torchrun"

    def __init__(self, place: Place) -> None:
        self._place, self.workers = place, place.ranks
        self._store: Store | None = None
        self._rounds = 0

    def run(self, tasks: Sequence[Task], given: Given, tell: Tell) -> Generator[Outcome, None, None]:
        """See `Engine`. What an earlier start of the same ranks has done is done."""
        if not tasks:
            return
        check_ranks(tasks, self.workers)
        folder = _folder(given.work, self._place, self._rounds)
        if not self._place.restart:
            shutil.rmtree(folder.path, ignore_errors=True)
        folder.create()
        folder.hand_over(tasks, rows=given.dataset.digest)
        self._say(_TRAIN)
        follower = Follower(folder, tasks, tell)
        rank = _rank(self._place, folder, tasks, given, self._met(), self._rounds - 1)
        rank.observed = follower.look
        with _letting_go(rank):
            for _ in rank.serve():
                yield from follower.outcomes()
            while follower.open:
                yield from follower.outcomes()
                time.sleep(LOOK_S)
        shutil.rmtree(folder.path, ignore_errors=True)

    def close(self) -> None:
        """The other ranks end."""
        self._say(_OVER)

    def _say(self, what: str) -> None:
        self._met().set(f"round {self._rounds}", what)
        self._rounds += 1

    def _met(self) -> Store:
        self._store = self._store or _store(self._place)
        return self._store


def serve(place: Place, given: Given) -> None:
    """Train what the first rank hands over. Raises ExportError where this rank has other rows than the first."""
    store = _store(place)
    rounds = 0
    while store.get(f"round {rounds}").decode() != _OVER:
        _serve_round(place, given, store, rounds)
        rounds += 1


def _serve_round(place: Place, given: Given, store: Store, rounds: int) -> None:
    folder = _folder(given.work, place, rounds)
    try:
        tasks = folder.tasks()
    except FileNotFoundError as error:
        raise ExportError(f"rank {place.rank}: --work {given.work} is not the folder that rank 0 sees") from error
    if folder.rows() != given.dataset.digest:
        raise ExportError(f"rank {place.rank} has other rows than rank 0: --data must hold the same on all nodes")
    rank = _rank(place, folder, tasks, given, store, rounds)
    with _letting_go(rank):
        for _ in rank.serve():
            pass


def _rank(place: Place, folder: RunFolder, tasks: Sequence[Task], given: Given, store: Store, rounds: int) -> Rank:
    own = PrefixStore(f"tasks of round {rounds}", store)
    return Rank(folder, given, tasks, own, place.rank, place.ranks, place.restart)


def _folder(work: Path, place: Place, rounds: int) -> RunFolder:
    return RunFolder(work / f"torchrun-{re.sub(r'[^A-Za-z0-9_-]', '_', place.run)[:64]}-{rounds}")


def _store(place: Place) -> Store:
    """Where the agent says that ranks meet."""
    found: Store = PrefixStore(f"start {place.restart}", next(rendezvous("env://"))[0])
    found.set_timeout(PATIENCE)
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
