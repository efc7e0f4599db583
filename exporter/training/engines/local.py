"""Processes of this machine, one thread each: results do not depend on how many there are."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from exporter.errors import ExportError
from exporter.optimisation.run import EpochDone
from exporter.training.engines.deaths import Deaths
from exporter.training.engines.engine import Began, Done, Epoch, Failed, Given, Outcome, Result, Task, Tell
from exporter.training.engines.in_process import InProcess, outcome_of
from exporter.training.engines.pool import Pool, Worker
from exporter.training.engines.pool_worker import Part, Ready, Report
from exporter.training.engines.queue import Queue, seconds_of
from exporter.training.engines.worker import Failure


class Local:
    """A pool of processes; this process alone where one worker is enough."""

    name = "local"

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, tasks: Sequence[Task], given: Given, tell: Tell) -> Generator[Outcome, None, None]:
        """See `Engine`."""
        if not tasks:
            return
        alone = all(task.ranks == 1 for task in tasks)
        if alone and (self.workers == 1 or len(tasks) == 1):
            yield from InProcess().run(tasks, given, tell)
            return
        size = min(max(self.workers, *(task.ranks for task in tasks)), sum(task.ranks for task in tasks))
        with tempfile.TemporaryDirectory(prefix="tutti-training-") as folder:
            context = hand_over(Path(folder), given)
            pool = Pool(size, context)
            try:
                yield from _Run(pool, tasks, Path(folder), tell).outcomes()
            finally:
                pool.end()

    def close(self) -> None:
        """Nothing is kept between runs."""


class _Run:
    """One call of `run`: what waits, what runs where."""

    def __init__(self, pool: Pool, tasks: Sequence[Task], folder: Path, tell: Tell) -> None:
        self._pool, self._folder, self._tell = pool, folder, tell
        self._queue = Queue(tasks)
        self._deaths = Deaths(tell)
        self._gangs: dict[str, list[Worker]] = {}
        """By digest, the workers that still train it, the first of them first."""
        self._firsts: dict[str, Result] = {}
        self._meetings = 0

    def outcomes(self) -> Iterator[Outcome]:
        """Until nothing waits and nothing runs."""
        while self._queue or self._gangs:
            self._begin_what_can()
            for worker, message in self._pool.messages():
                found = self._heard(worker, message)
                if found is not None:
                    yield found

    def _begin_what_can(self) -> None:
        while (task := self._queue.take(self._pool.free)) is not None:
            gang = self._pool.take(task.ranks)
            meeting = None
            if task.ranks > 1:
                self._meetings += 1
                meeting = self._folder / f"meeting-{self._meetings}"
            for rank, worker in enumerate(gang):
                worker.begin(Part(task, rank, meeting))
            self._gangs[task.digest] = gang
            self._tell(Began(task, self._name(gang)))

    @staticmethod
    def _name(gang: Sequence[Worker]) -> str:
        return f"process {' '.join(str(worker.number) for worker in gang)}"

    def _heard(self, worker: Worker, message: Ready | EpochDone | Report | None) -> Outcome | None:
        """A worker's message; None: it died. Raises ExportError for one that died before it could train."""
        if message is None:
            return self._lost(worker)
        if isinstance(message, Ready):
            worker.ready = True
        task = worker.task
        if task is not None and isinstance(message, EpochDone) and worker is self._gangs[task.digest][0]:
            self._tell(Epoch(task, self._name(self._gangs[task.digest]), message))
        if task is not None and isinstance(message, Report):
            return self._reported(worker, task, message.found)
        return None

    def _lost(self, worker: Worker) -> Failed | None:
        how = worker.how_it_ended()
        if not worker.ready:
            raise ExportError(f"a training process died before it could train: it {how}; fewer --workers need less")
        if worker.task is not None:
            return self._died(worker.task, how)
        self._pool.drop(worker)
        return None

    def _reported(self, worker: Worker, task: Task, found: Result | Failure | None) -> Outcome | None:
        gang = self._gangs[task.digest]
        if isinstance(found, Failure):
            dead = next((other for other in gang if other is not worker and other.is_dead()), None)
            if dead is not None:  # what this one says is that it lost the other
                return self._died(task, dead.how_it_ended())
            name = self._name(gang)
            self._give_up(task, keep=worker)
            if found.again:
                return self._once_more(task, found.reason)
            return outcome_of(task, found, name)
        name = self._name(gang)
        if found is not None:
            self._firsts[task.digest] = found
        worker.task = None
        self._pool.give_back(worker)
        if any(other.task is task for other in gang):
            return None
        del self._gangs[task.digest]
        made = self._firsts.pop(task.digest)
        self._queue.learn(task, seconds_of(made))
        return Done(task, made, name)

    def _died(self, task: Task, how: str) -> Failed | None:
        self._give_up(task)
        return self._once_more(task, f"{task.title}: its process {how}")

    def _once_more(self, task: Task, reason: str) -> Failed | None:
        found = self._deaths.of(task, reason)
        if found is None:
            self._queue.put_back(task)
        return found

    def _give_up(self, task: Task, keep: Worker | None = None) -> None:
        """End the workers of a task; the one that reported is free for others."""
        self._firsts.pop(task.digest, None)
        for worker in self._gangs.pop(task.digest):
            if worker is keep:
                worker.task = None
                self._pool.give_back(worker)
            elif worker.task is task:
                self._pool.drop(worker)


def hand_over(folder: Path, given: Given) -> Path:
    """What workers of this machine read what they work on from. Raises ExportError.

    By a file: a worker that dies before it has read a pipe would leave this process writing to it for ever."""
    context = folder / "context"
    try:
        with context.open("wb") as stream:
            pickle.dump(given, stream, pickle.HIGHEST_PROTOCOL)
    except OSError as error:
        raise ExportError(
            f"the rows cannot be handed to training processes by {folder}: {error.strerror}; TMPDIR names "
            "another folder, --workers 1 needs none"
        ) from error
    return context
