"""Starts the actors of one training, hears of their deaths, and ends them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.errors import ExportError
from exporter.optimisation.asynchronous.batch_queue import BatchQueue
from exporter.optimisation.asynchronous.lease_table import LeaseTable
from exporter.optimisation.loop import Exchange
from exporter.optimisation.run import EpochDone, Run
from exporter.optimisation.spec import Dataflow
from exporter.training.asynchronous.actors import Asynchronous, Observe, ServerActor, Work, WorkerActor, keeping_of
from exporter.training.asynchronous.remote import LIVES
from exporter.training.jobs import Job, Made, run_job

_POLL_S = 0.25
"""Between two looks at progress; deaths and results are heard of at once."""
_PLACE_S = 120.0
"""What a training waits for room that others have."""


def run_with_ray(job: Job, dataset: Dataset, split: Split, observe: Observe) -> Made:
    """The job's result, by the actors that its technique asks for, in the cluster that Ray is connected to.

    Raises ExportError: the member's own error, or that all its workers died.
    """
    rows = ray.put((dataset, split))

    def work(exchange: Exchange, told: Observe) -> Made:
        data, parts = ray.get(rows)
        return run_job(job, data, parts, Run(exchange, told))

    if not isinstance(job.technique, Asynchronous):
        raise ExportError(f"training.mode {job.technique.mode!r} needs no actors, expected an asynchronous one; a bug")
    with Crew(job.technique, gpus=int(job.device == "cuda")) as crew:
        made: Made = crew.result(work, observe)
    return made


class Crew:
    """All actors of one training. They are started on entering and ended on leaving, whatever happened."""

    def __init__(self, technique: Asynchronous, folder: Path | None = None, gpus: int = 0) -> None:
        """`folder`: where servers keep their weights, seen by every machine of the cluster; None: one of this machine's
        own, which is removed. `gpus` of each worker or trainer."""
        self._technique, self._gpus = technique, gpus
        self._group: Any = None
        self._cpus = 1.0
        self._given = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._name = f"tutti-{uuid4()}"
        self.table: Any = None
        self.servers: list[Any] = []
        self.workers: list[Any] = []
        """Workers, or trainers."""
        self.producers: list[Any] = []

    def __enter__(self) -> Self:
        if self._given is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="tutti-servers-")
        folder = self._given or Path(self._temporary.name if self._temporary else "")
        try:
            self._start(folder)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def result(self, work: Work, observe: Observe) -> Any:
        """What the first worker that ends comes to. A worker or producer that dies costs nothing but its pace.

        Raises ExportError where a worker raised one, or where all workers or all producers died.
        """
        names = {actor.work.remote(work): f"{self._noun} {place}" for place, actor in enumerate(self.workers, 1)}
        makes = {actor.produce.remote(work): f"producer {place}" for place, actor in enumerate(self.producers, 1)}
        left = {**names, **makes}
        while True:
            ready, _ = ray.wait(list(left), num_returns=1, timeout=_POLL_S)
            self._tell(observe)
            for call in ready:
                name = left.pop(call)
                try:
                    found = ray.get(call)
                except RayError as error:
                    self._gone(name, error, list(left.values()))
                else:
                    if call in names:
                        return found

    @property
    def _noun(self) -> str:
        return "trainer" if isinstance(self._technique, Dataflow) else "worker"

    def _gone(self, name: str, error: RayError, left: list[str]) -> None:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, ExportError):
            raise cause from error
        noun = name.partition(" ")[0]
        if not any(other.startswith(noun) for other in left):
            said = str(cause).strip().splitlines() or [type(cause).__name__]
            died = "died" if isinstance(error, RayActorError) else "failed"
            raise ExportError(f"all {noun}s of the training {died}, the last of them: {said[0]}") from error
        ray.get(self.table.release.remote(name))

    def _tell(self, observe: Observe) -> None:
        done: EpochDone
        for done in ray.get(self.table.told.remote()):
            observe(done)

    def _start(self, folder: Path) -> None:
        technique = self._technique
        flow = technique if isinstance(technique, Dataflow) else None
        most = technique.workers + (flow.producers if flow else 0)
        shared: dict[str, Any] = {"num_cpus": 0, "max_concurrency": 2 * most + 4, "name": self._name}
        if flow is not None:
            self.table = ray.remote(BatchQueue).options(**shared).remote(technique.stall_s, flow.queue_batches)
        else:
            self.table = ray.remote(LeaseTable).options(**shared).remote(technique.stall_s)
        if flow is None or technique.workers > 1:
            self.servers = self._started_servers(folder, most)
        self._reserve(most)
        given = (self.table, self.servers, folder)
        self.workers = [
            self._actor(rank, self._gpus).remote(technique, rank, *given) for rank in range(technique.workers)
        ]
        self.producers = [
            self._actor(technique.workers + rank, 0).remote(technique, rank, *given)
            for rank in range(flow.producers if flow else 0)
        ]

    def _reserve(self, most: int) -> None:
        """Room for all or for none: of two trainings that each have half of their actors neither would end."""
        self._cpus = _cpus(most)
        bundles = [
            {"CPU": self._cpus, **({"GPU": 1} if self._gpus and place < self._technique.workers else {})}
            for place in range(most)
        ]
        self._group = placement_group(bundles, strategy="PACK")
        try:
            ray.get(self._group.ready(), timeout=_PLACE_S)
        except GetTimeoutError as error:
            raise ExportError(
                f"the Ray cluster has no room for {most} workers of a training within {_PLACE_S:.0f} s, expected "
                f"{self._cpus:g} processors{' and a GPU' if self._gpus else ''} for each: fewer workers"
            ) from error

    def _actor(self, place: int, gpus: int) -> Any:
        within = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=place)
        return ray.remote(num_cpus=self._cpus, num_gpus=gpus, max_restarts=0, scheduling_strategy=within)(WorkerActor)

    def _started_servers(self, folder: Path, workers: int) -> list[Any]:
        """Ready: what is asked of them is answered at once."""
        server = ray.remote(num_cpus=0, max_restarts=LIVES, max_task_retries=-1, max_concurrency=workers + 2)(
            ServerActor
        )
        keeping = keeping_of(self._technique)
        found = [server.remote(place, folder, keeping, self._name) for place in range(self._technique.servers)]
        ray.get([actor.applied.remote() for actor in found])
        return found

    def close(self) -> None:
        """End all actors, and remove what servers kept."""
        actors = [*self.workers, *self.producers, *self.servers, *([self.table] if self.table is not None else [])]
        for actor in actors:
            ray.kill(actor)
        self.workers, self.producers, self.servers, self.table = [], [], [], None
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


def _cpus(workers: int) -> float:
    """Of each worker: one, or its part of what the cluster has; fewer processors make workers slow, not impossible.

    One part is left: whoever waits for the training here may have it.
    """
    there = float(ray.cluster_resources().get("CPU", 1.0))
    return min(1.0, int(1000 * there / (workers + 1)) / 1000)
