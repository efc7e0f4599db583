"""Processes that take tasks: begun when there is something to do, replaced when they die, ended at the end."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from exporter.training.engines import pool_worker
from exporter.training.engines.deaths import how_ended
from exporter.training.engines.engine import Task
from exporter.training.engines.environment import OF_WORKERS, loopback
from exporter.training.engines.pool_worker import Message, Part

_END_S = 5.0
"""What a process has to end after it was asked to."""


class Worker:
    """One process, and the task that it has."""

    def __init__(self, number: int, process: SpawnProcess, connection: Connection) -> None:
        self.number, self.process, self.connection = number, process, connection
        self.task: Task | None = None
        self.ready = False
        """It has begun and knows the rows."""

    def begin(self, part: Part) -> None:
        """Hand it a task; one that is dead by now is found out when it is listened to."""
        self.task = part.task
        try:
            self.connection.send(part)
        except OSError:
            return

    def is_dead(self) -> bool:
        """Whether the process has ended; one that is about to is waited for a moment."""
        self.process.join(0.3)
        return self.process.exitcode is not None

    def how_it_ended(self) -> str:
        """In words; for one that is dead."""
        self.process.join(_END_S)
        return how_ended(self.process.exitcode)


class Pool:
    """At most `size` processes."""

    def __init__(self, size: int, context: Path) -> None:
        self._size, self._context = size, context
        self._spawn = multiprocessing.get_context("spawn")
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []

    @property
    def free(self) -> int:
        """Processes that have nothing to do, or are not there yet."""
        return self._size - len(self._workers) + len(self._idle)

    def take(self, count: int) -> list[Worker]:
        """So many that are free; the caller hands each a task."""
        while len(self._idle) < count:
            self._idle.append(self._begun())
        found, self._idle = self._idle[:count], self._idle[count:]
        return found

    def give_back(self, worker: Worker) -> None:
        """It has done its task."""
        self._idle.append(worker)

    def drop(self, worker: Worker) -> None:
        """End a process, alive or dead; another takes its place when one is needed."""
        self._workers.remove(worker)
        self._idle = [other for other in self._idle if other is not worker]
        _end([worker])

    def messages(self) -> Iterator[tuple[Worker, Message | None]]:
        """At least one, of any worker; None where it died."""
        ready = wait([worker.connection for worker in self._workers])
        for worker in [worker for worker in self._workers if worker.connection in ready]:
            if worker not in self._workers:  # a gang that ended meanwhile
                continue
            try:
                yield worker, worker.connection.recv()
            except (EOFError, OSError):
                yield worker, None

    def end(self) -> None:
        """All of them; those that have nothing to do end by themselves when their pipe does."""
        for worker in self._idle:
            worker.connection.close()
        for worker in self._idle:
            worker.process.join(_END_S)
        _end(self._workers)
        self._workers, self._idle = [], []

    def _begun(self) -> Worker:
        ours, its = self._spawn.Pipe()
        taken = {worker.number for worker in self._workers}
        number = next(number for number in range(1, len(taken) + 2) if number not in taken)
        process = self._spawn.Process(target=pool_worker.main, args=(its, self._context), daemon=True)
        with _environment({**OF_WORKERS, **loopback()}):
            process.start()
        its.close()
        worker = Worker(number, process, ours)
        self._workers.append(worker)
        return worker


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_END_S)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        worker.process.close()
        worker.connection.close()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
