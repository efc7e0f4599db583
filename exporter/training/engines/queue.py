"""Tasks that wait, the longest first: then no long one is alone at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from exporter.optimisation.spec import Optimisation
from exporter.training.engines.engine import Result, Task

_STEPS_OF_OTHERS = 10
"""What a member that no gradient trains is taken to cost before one was measured, in epochs."""


class Queue:
    """Tasks by their time: what was measured of the same member with its rows, else guessed by epochs and rows.

    List scheduling, longest first, is within a third of the best (Graham, 1969): see docs/training.md for ours.
    """

    def __init__(self, tasks: Iterable[Task], seconds: Mapping[Task, float] | None = None) -> None:
        """`seconds`: of tasks that are done already."""
        self._waiting = list(tasks)
        self._measured: dict[str, list[float]] = {}
        self._rates: list[float] = []
        for task, took in (seconds or {}).items():
            self.learn(task, took)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def learn(self, task: Task, seconds: float) -> None:
        """From a task that is done."""
        self._measured.setdefault(task.jobs[0].member, []).append(seconds / max(1, task.rows))
        self._rates.append(seconds / _guess(task))

    def take(self, free: int) -> Task | None:
        """The longest that so many workers can begin; None where there is none."""
        able = [task for task in self._waiting if task.ranks <= free]
        if not able:
            return None
        found = max(able, key=self.seconds)
        self._waiting.remove(found)
        return found

    def put_back(self, task: Task) -> None:
        """Another worker is to take it."""
        self._waiting.append(task)

    def seconds(self, task: Task) -> float:
        """What it will take, about; in no unit as long as nothing was measured."""
        if task.jobs[0].member in self._measured:
            return median(self._measured[task.jobs[0].member]) * task.rows
        return _guess(task) * (median(self._rates) if self._rates else 1)

    def in_order(self) -> list[Task]:
        """All that wait, the longest first."""
        return sorted(self._waiting, key=self.seconds, reverse=True)


def longest_first(tasks: Sequence[Task], seconds: Mapping[Task, float]) -> list[Task]:
    """The tasks in the order in which they had best begin; `seconds` are of tasks that are done."""
    return Queue(tasks, seconds).in_order()


def seconds_of(made: Result) -> float:
    """What a task took."""
    return sum(one.seconds for one in made)


def _guess(task: Task) -> float:
    trainings = [getattr(job.spec, "training", None) for job in task.jobs]
    epochs = sum(each.epochs if isinstance(each, Optimisation) else _STEPS_OF_OTHERS for each in trainings)
    return float(max(1, task.rows) * epochs)
