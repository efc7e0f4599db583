"""A rank of torchrun: it takes tasks from a counter that all ranks share, alone or with its gang."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType

import torch
from torch.distributed import FileStore, PrefixStore, Store  # type: ignore[attr-defined]  # its list of exports lacks them

from exporter.optimisation.run import EpochDone
from exporter.threads import one_thread
from exporter.training.engines.engine import MOST_DEATHS, Given, Task
from exporter.training.engines.gang import attempt_together
from exporter.training.engines.run_folder import ALIVE, RunFolder, Running
from exporter.training.engines.worker import Failure, Seldom, attempt

PATIENCE = timedelta(days=7)
"""The others of a gang wait for their first one's next task, which may train for long before."""
_NO_MORE = -1
AGAIN = 75
"""Exit status of a rank that wants to be begun anew: EX_TEMPFAIL."""


@dataclass
class Rank:
    """This process among the ranks."""

    folder: RunFolder
    given: Given
    tasks: Sequence[Task]
    store: Store
    """Of this start of the ranks alone."""
    rank: int
    ranks: int
    restart: int
    """How many times they were begun anew."""
    observed: Callable[[], None] | None = None
    """Called now and then while this rank trains."""
    _current: Task | None = None

    @property
    def worker(self) -> str:
        """As progress names it."""
        return f"rank {self.rank}"

    def serve(self) -> Iterator[Task]:
        """Train until no task is left; each that this rank has settled."""
        self.store.set_timeout(PATIENCE)
        with one_thread():
            for task in self._shared():
                yield from self._train(task)
            for task in self._own("taken", [task for task in self.tasks if task.ranks == 1]):
                yield from self._train(task)

    def _own(self, counter: str, tasks: Sequence[Task]) -> Iterator[Task]:
        """Those that nobody else took, and that are not done."""
        while (place := self.store.add(counter, 1) - 1) < len(tasks):
            if self._is_open(tasks[place]):
                yield tasks[place]

    def _shared(self) -> Iterator[Task]:
        """The tasks of this rank's gang: the first rank takes them, and tells the others."""
        tasks = [task for task in self.tasks if task.ranks > 1]
        if not tasks or self.rank >= self.ranks - self.ranks % tasks[0].ranks:
            return
        gang, place = divmod(self.rank, tasks[0].ranks)
        numbers = {task.digest: number for number, task in enumerate(tasks)}
        if place == 0:
            count = 0
            for count, task in enumerate(self._own("taken together", tasks), start=1):
                self.store.set(f"gang {gang}/{count}", str(numbers[task.digest]))
                yield task
            self.store.set(f"gang {gang}/{count + 1}", str(_NO_MORE))
            return
        count = 1
        while (number := int(self.store.get(f"gang {gang}/{count}"))) != _NO_MORE:
            yield tasks[number]
            count += 1

    def _is_open(self, task: Task) -> bool:
        """Whether it is to be trained: one that has cost too many ranks is not."""
        if self.folder.outcome(task) is not None:
            return False
        before = self.folder.running(task)
        if before is None or before.restart == self.restart:
            return True
        if self.folder.died(task, before) < MOST_DEATHS:
            return True
        reason = before.reason or f"{task.title}: its rank died (killed, or out of memory?)"
        self.folder.settle(task, Failure(f"{reason}, {MOST_DEATHS} times"), before.worker)
        return False

    def _train(self, task: Task) -> Iterator[Task]:
        place = self.rank % task.ranks
        first = place == 0
        if first:
            self._current = task
            self.folder.mark(task, Running(self.worker, self.restart))
        observe = Seldom(lambda done: self._tell(task, done) if first else None)
        if task.ranks == 1:
            if self.given.device == "cuda":
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
            found = attempt(task, self.given, observe)
        else:
            meeting = PrefixStore(f"meeting {task.digest}", self.store)
            found = attempt_together(task, self.given, observe, meeting, place)
        if isinstance(found, Failure) and found.again:
            if first:
                self.folder.mark(task, Running(self.worker, self.restart, found.reason))
            sys.exit(AGAIN)
        if first or isinstance(found, Failure):
            self.folder.settle(task, found, self.worker)
            self.folder.release(task)
            self._current = None
            yield task

    def _tell(self, task: Task, done: EpochDone) -> None:
        self.folder.tell(task, done)
        if self.observed is not None:
            self.observed()

    def let_go(self) -> None:
        """What this rank has is not the reason that it ends."""
        if self._current is not None:
            self.folder.release(self._current)


def main(path: str) -> None:
    """A rank that the launcher began, by what torch's agent says in the environment."""
    folder = RunFolder(Path(path))
    threading.Thread(target=leave_when_dead, args=(folder.path / ALIVE,), name="driver-watch", daemon=True).start()
    restart = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    ranks = int(os.environ["WORLD_SIZE"])
    rank = Rank(
        folder, folder.given(), folder.tasks(), FileStore(str(folder.path / f"store-{restart}"), ranks),
        int(os.environ["RANK"]), ranks, restart,
    )  # fmt: skip

    def end(number: int, frame: FrameType | None) -> None:
        rank.let_go()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    for _ in rank.serve():
        pass


def leave_when_dead(alive: Path) -> None:
    """End this process when whoever drives it is gone, however that died: it alone holds this pipe to write."""
    with alive.open("rb") as stream:
        stream.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
