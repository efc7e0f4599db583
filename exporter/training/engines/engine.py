"""What an engine is given, what it tells on the way, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.optimisation.run import EpochDone
from exporter.optimisation.spec import Device, Mode
from exporter.training.jobs import Job, Made

Result = tuple[Made, ...]

MOST_DEATHS = 3
"""Workers that one task may cost: then it is the task's fault."""


@dataclass(frozen=True)
class Given:
    """What all tasks of an export work on."""

    dataset: Dataset
    split: Split
    work: Path
    """The work folder: snapshots of running trainings lie there, in a folder by the task's digest."""
    device: Device = "cpu"
    keeps: bool = True
    """False where the worker does not see the work folder: it keeps no snapshots."""


@dataclass(frozen=True)
class Task:
    """What a worker, or a gang of them, trains at a time: a job, or several that train jointly."""

    jobs: tuple[Job, ...]
    digest: str
    """Of the first of them: the task's name in folders."""
    rows: int
    """That it is trained on."""

    @property
    def title(self) -> str:
        """As errors name it: `member 'cnn' (fold 1)`."""
        return " with ".join(job.title for job in self.jobs)

    @property
    def label(self) -> str:
        """As progress names it: `cnn, fold 2`."""
        return " + ".join(job.label for job in self.jobs)

    @property
    def technique(self) -> Mode:
        """How its workers go together."""
        return self.jobs[0].technique

    @property
    def ranks(self) -> int:
        """Workers that train it together."""
        return self.technique.gang


@dataclass(frozen=True)
class Began:
    """A worker, of a gang the first, has a task."""

    task: Task
    worker: str


@dataclass(frozen=True)
class Epoch:
    """One epoch of a task's networks is done; not every one is told."""

    task: Task
    worker: str
    done: EpochDone


@dataclass(frozen=True)
class Again:
    """A task goes to another worker, for a reason that is not the task's."""

    task: Task
    reason: str


@dataclass(frozen=True)
class Done:
    """A task's results, one for each of its jobs."""

    task: Task
    made: Result
    worker: str


@dataclass(frozen=True)
class Failed:
    """A task that gives no result; the reason is one line that names the member."""

    task: Task
    reason: str
    trace: str = ""
    """Of an error that nobody expected."""


Outcome = Done | Failed
Event = Began | Epoch | Again | Done | Failed
Tell = Callable[[Event], None]
"""Told of what happens on the way: Began, Epoch and Again by engines."""


class Engine(Protocol):
    """Starts workers, hands tasks to them, ends them. An export runs it once or more, and closes it."""

    name: str
    workers: int

    def run(self, tasks: Sequence[Task], given: Given, tell: Tell) -> Generator[Outcome, None, None]:
        """Each task's outcome, as they come; the tasks are in the order in which they had best begin.

        A task whose worker dies goes to another, up to MOST_DEATHS. Closing the iterator ends everything that was
        started. Raises ExportError where no worker can be had, ModuleNotFoundError for a library that is missing.
        """
        ...

    def close(self) -> None:
        """No run follows: end what was kept for one."""
        ...
