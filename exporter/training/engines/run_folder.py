"""A folder by which ranks and whoever drives them know of each other: tasks, who has which, outcomes, deaths."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from exporter.errors import ExportError
from exporter.optimisation.run import EpochDone
from exporter.training.engines.engine import Given, Result, Task
from exporter.training.engines.worker import Failure

Kind = TypeVar("Kind")

CONTEXT, TASKS, ROWS, ALIVE = "context", "tasks", "rows", "alive"


class Running(msgspec.Struct, frozen=True):
    """Who has a task."""

    worker: str
    restart: int
    """Of the ranks; one with a lower number is gone."""
    reason: str = ""
    """What it said when it gave up."""


class Progress(msgspec.Struct, frozen=True):
    """How far a training is."""

    network: int
    epoch: int
    epochs: int
    loss: float

    @staticmethod
    def of(done: EpochDone) -> Progress:
        """The same without figures."""
        return Progress(done.network, done.epoch, done.epochs, done.loss)


@dataclass(frozen=True)
class RunFolder:
    """Files that appear whole. All are written by our own processes, in a folder that is the user's alone."""

    path: Path

    def create(self) -> None:
        """With nothing in it. Raises ExportError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"work folder {self.path.parent}: {error.strerror}") from error

    def hand_over(self, tasks: Sequence[Task], given: Given | None = None, rows: str = "") -> None:
        """What ranks work on; without `given` they have the rows by themselves, of this digest. Raises ExportError."""
        try:
            if given is not None:
                self._write(CONTEXT, pickle.dumps(given, pickle.HIGHEST_PROTOCOL))
            self._write(ROWS, rows.encode())
            self._write(TASKS, pickle.dumps(tuple(tasks), pickle.HIGHEST_PROTOCOL))
        except OSError as error:
            raise ExportError(
                f"the rows cannot be handed to training processes by {self.path}: {error.strerror}; --work and TMPDIR "
                "name other folders"
            ) from error

    def given(self) -> Given:
        """What `hand_over` was given."""
        found: Given = pickle.loads((self.path / CONTEXT).read_bytes())  # noqa: S301 - see the class
        return found

    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in the order in which they had best begin."""
        found: tuple[Task, ...] = pickle.loads((self.path / TASKS).read_bytes())  # noqa: S301 - see the class
        return found

    def rows(self) -> str:
        """The digest of the first rank's."""
        return (self.path / ROWS).read_text()

    def outcome(self, task: Task) -> tuple[Result | Failure, str] | None:
        """What became of the task, and by whom; None as long as it runs or waits."""
        try:
            data = (self.path / f"{task.digest}.outcome").read_bytes()
        except FileNotFoundError:
            return None
        found: tuple[Result | Failure, str] = pickle.loads(data)  # noqa: S301 - see the class
        return found

    def settle(self, task: Task, found: Result | Failure, worker: str) -> None:
        """Say what became of it."""
        self._write(f"{task.digest}.outcome", pickle.dumps((found, worker), pickle.HIGHEST_PROTOCOL))

    def running(self, task: Task) -> Running | None:
        """Who has it, or had it when it died."""
        return self._read(f"{task.digest}.running", Running)

    def mark(self, task: Task, running: Running) -> None:
        """Say who has it."""
        self._write(f"{task.digest}.running", msgspec.json.encode(running))

    def release(self, task: Task) -> None:
        """Nobody has it."""
        (self.path / f"{task.digest}.running").unlink(missing_ok=True)

    def deaths(self, task: Task) -> list[Running]:
        """Workers that it has cost."""
        return self._read(f"{task.digest}.deaths", list[Running]) or []

    def died(self, task: Task, running: Running) -> int:
        """Count one more; how many there are."""
        found = [*self.deaths(task), running]
        self._write(f"{task.digest}.deaths", msgspec.json.encode(found))
        return len(found)

    def tell(self, task: Task, done: EpochDone) -> None:
        """How far it is."""
        self._write(f"{task.digest}.progress", msgspec.json.encode(Progress.of(done)))

    def progress(self, task: Task) -> Progress | None:
        """What was told last."""
        return self._read(f"{task.digest}.progress", Progress)

    def _write(self, name: str, data: bytes) -> None:
        partial = self.path / f"{name}.{os.getpid()}.part"
        partial.write_bytes(data)
        partial.replace(self.path / name)

    def _read(self, name: str, kind: type[Kind]) -> Kind | None:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except FileNotFoundError:
            return None
