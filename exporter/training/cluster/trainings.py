"""Tasks on a cluster: as many at once as there are workers, alone or in gangs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from exporter.errors import ExportError
from exporter.optimisation.spec import Dataflow, ParameterServer
from exporter.training.cluster.remote import RankActor, Teller, mark, trained
from exporter.training.engines.deaths import Deaths
from exporter.training.engines.engine import Began, Done, Epoch, Event, Failed, Given, Outcome, Result, Task
from exporter.training.engines.queue import Queue, seconds_of
from exporter.training.engines.worker import Failure

_LOOK_S = 0.25
"""Between two looks at how far trainings are."""
_PLACE_S = 120.0
"""What a gang waits for places that the cluster has, before others' tasks leave them."""


class Gang:
    """The workers of one task that train it together; a task of one worker is a gang of one call."""

    def __init__(self, task: Task, calls: Sequence[Any], actors: Sequence[Any] = (), group: Any = None) -> None:
        self.task, self.calls = task, list(calls)
        self._actors, self._group = actors, group
        self.result: tuple[Result, str] | None = None
        """The first one's."""

    def end(self) -> None:
        """Free what it holds."""
        for actor in self._actors:
            with suppress(RayError):
                ray.kill(actor)
        if self._group is not None:
            with suppress(RayError):
                remove_placement_group(self._group)


class Trainings:
    """One order of tasks."""

    def __init__(
        self, tasks: Sequence[Task], given: Given, workers: int, cpus: int, tell: Callable[[Event], None]
    ) -> None:
        """Raises ExportError for a gang that is larger than the cluster."""
        most = max(tasks, key=lambda task: task.ranks)
        if most.ranks > cpus:
            raise ExportError(
                f"training.workers is {most.ranks}, the Ray cluster has {cpus} processors for {most.title}: "
                "expected as many as workers"
            )
        self._queue, self._given, self._tell = Queue(tasks), given, tell
        self._workers = max(workers, most.ranks)
        self._deaths = Deaths(tell)
        self._seen = mark(given.work)
        self._gangs: list[Gang] = []
        self._begun: set[str] = set()
        gpu = 1 if given.device == "cuda" else 0
        self._each = {"num_cpus": 1, "num_gpus": gpu}
        self._rows = ray.put(given)
        self._teller = ray.remote(num_cpus=0)(Teller).remote()

    def outcomes(self) -> Iterator[Outcome]:
        """Until nothing waits and nothing runs."""
        try:
            while self._queue or self._gangs:
                while (task := self._next()) is not None:
                    self._gangs.append(self._together(task) if self._is_gang(task) else self._alone(task))
                calls = [call for gang in self._gangs for call in gang.calls]
                ready, _ = ray.wait(calls, num_returns=1, timeout=_LOOK_S)
                self._tell_epochs()
                for call in ready:
                    if (found := self._heard(call)) is not None:
                        yield found
        finally:
            for gang in self._gangs:
                gang.end()
            (self._given.work / self._seen).unlink(missing_ok=True)

    def _next(self) -> Task | None:
        """One whose own actors train it has the cluster to itself: how many there are is its technique's matter."""
        if any(_by_actors(gang.task) for gang in self._gangs):
            return None
        task = self._queue.take(self._workers - sum(gang.task.ranks for gang in self._gangs))
        if task is not None and _by_actors(task) and self._gangs:
            self._queue.put_back(task)
            return None
        return task

    @staticmethod
    def _is_gang(task: Task) -> bool:
        return task.ranks > 1 and task.technique.mode in ("data_parallel", "local_sgd")

    def _alone(self, task: Task) -> Gang:
        self._begun.discard(task.digest)
        each = {"num_cpus": 0} if _by_actors(task) else self._each  # whose actors do the work needs none for itself
        remote = ray.remote(**each, max_retries=0)(trained)
        return Gang(task, [remote.remote(task, self._rows, self._teller, self._seen)])

    def _together(self, task: Task) -> Gang:
        self._begun.discard(task.digest)
        bundle = {"CPU": 1, **({"GPU": 1} if self._each["num_gpus"] else {})}
        group = placement_group([bundle] * task.ranks, strategy="PACK")
        actors: list[Any] = []
        try:
            ray.get(group.ready(), timeout=_PLACE_S)
            place = PlacementGroupSchedulingStrategy(group)
            remote = ray.remote(**self._each, max_restarts=0, scheduling_strategy=place)(RankActor)
            actors += [remote.remote() for _ in range(task.ranks)]
            meeting = ray.get(actors[0].meeting.remote(task.ranks))
        except RayError as error:
            Gang(task, [], actors, group).end()
            if isinstance(error, GetTimeoutError):
                raise ExportError(
                    f"the Ray cluster has no {task.ranks} processors free for {task.title} within {_PLACE_S:.0f} s"
                ) from error
            return Gang(task, [ray.put((Failure(f"{task.title}: {_line(error)}", again=True), ""))])
        calls = [
            actor.train.remote(task, self._rows, self._teller, self._seen, rank, meeting)
            for rank, actor in enumerate(actors)
        ]
        return Gang(task, calls, actors, group)

    def _heard(self, call: Any) -> Outcome | None:
        gang = next((gang for gang in self._gangs if call in gang.calls), None)
        if gang is None:  # its gang was ended meanwhile
            return None
        try:
            found, worker = ray.get(call)
        except RayError as error:
            return self._once_more(gang, f"{gang.task.title}: {_died(error)}")
        if isinstance(found, Failure):
            if found.missing:
                raise ExportError(f"{worker}: {found.reason}")
            if found.again:
                return self._once_more(gang, found.reason)
            self._end(gang)
            return Failed(gang.task, found.reason, found.trace)
        if call == gang.calls[0] and gang.result is None and found:
            gang.result = found, worker
        gang.calls.remove(call)
        if gang.calls or gang.result is None:
            return None
        self._end(gang)
        made, name = gang.result
        self._queue.learn(gang.task, seconds_of(made))
        return Done(gang.task, made, name)

    def _once_more(self, gang: Gang, reason: str) -> Failed | None:
        self._end(gang)
        found = self._deaths.of(gang.task, reason)
        if found is None:
            self._queue.put_back(gang.task)
        return found

    def _end(self, gang: Gang) -> None:
        self._gangs.remove(gang)
        gang.end()

    def _tell_epochs(self) -> None:
        """How far those are that run; what is not heard in time is not waited for."""
        try:
            told = ray.get(self._teller.take.remote(), timeout=_LOOK_S)
        except RayError:
            return
        for gang in self._gangs:
            digest = gang.task.digest
            if digest not in told:
                continue
            worker, done = told[digest]
            if digest not in self._begun:
                self._begun.add(digest)
                self._tell(Began(gang.task, worker))
            self._tell(Epoch(gang.task, worker, done))


def _by_actors(task: Task) -> bool:
    return isinstance(task.technique, ParameterServer | Dataflow)


def _died(error: RayError) -> str:
    if isinstance(error, OutOfMemoryError):
        return "its worker was ended by Ray: out of memory"
    return f"its worker died (killed, or out of memory?): {type(error).__name__}"


def _line(error: RayError) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
