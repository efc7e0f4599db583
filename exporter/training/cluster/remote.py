"""What runs in Ray's workers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # its list of exports lacks it

from exporter.optimisation.run import EpochDone
from exporter.optimisation.spec import Dataflow, ParameterServer
from exporter.threads import one_thread
from exporter.training.asynchronous.crew import run_with_ray
from exporter.training.engines.engine import Given, Result, Task
from exporter.training.engines.gang import attempt_together
from exporter.training.engines.worker import Failure, Seldom, attempt, guarded

Found = tuple[Result | Failure, str]
"""What an attempt came to, and on whom."""


class Teller:
    """Hears how far trainings are, and is asked now and then."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[str, EpochDone]] = {}

    def tell(self, digest: str, worker: str, done: EpochDone) -> None:
        """The newest of each task is kept."""
        self._newest[digest] = (worker, done)

    def take(self) -> dict[str, tuple[str, EpochDone]]:
        """What is new since."""
        found, self._newest = self._newest, {}
        return found


def trained(task: Task, given: Given, teller: Any, seen: str) -> Found:
    """A task for one worker; for its own actors, where its technique has them."""
    with one_thread():
        if isinstance(task.technique, ParameterServer | Dataflow):
            return _by_actors(task, given, _observer(task, teller)), _worker()
        return attempt(task, _here(given, seen), _observer(task, teller)), _worker()


def _by_actors(task: Task, given: Given, observe: Callable[[EpochDone], None]) -> Result | Failure:
    return guarded(task, lambda: tuple(run_with_ray(job, given.dataset, given.split, observe) for job in task.jobs))


class RankActor:
    """One worker of a gang."""

    def __init__(self) -> None:
        self._store: TCPStore | None = None

    def meeting(self, ranks: int) -> tuple[str, int]:
        """The first one's: where the others find its store, on the address by which the cluster knows this node."""
        host = ray.util.get_node_ip_address()
        listener = socket.create_server((host, 0))
        port = listener.getsockname()[1]
        self._store = TCPStore(
            host, port, ranks, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
        )
        return host, port

    def train(self, task: Task, given: Given, teller: Any, seen: str, rank: int, meeting: tuple[str, int]) -> Found:
        """This worker's part."""
        store = self._store or TCPStore(*meeting, task.ranks, is_master=False)
        observe = _observer(task, teller) if rank == 0 else _nobody
        with one_thread():
            found = attempt_together(task, _here(given, seen), observe, store, rank)
        return (found if rank == 0 or isinstance(found, Failure) else ()), _worker()


def _nobody(done: EpochDone) -> None:
    """Is told nothing."""


def _observer(task: Task, teller: Any) -> Seldom:
    worker = _worker()
    return Seldom(lambda done: teller.tell.remote(task.digest, worker, done))


def _here(given: Given, seen: str) -> Given:
    """Snapshots only where this machine sees the work folder: nobody would find them, or remove them, elsewhere."""
    return given if (given.work / seen).exists() else replace(given, keeps=False)


def _worker() -> str:
    node = ray.util.get_node_ip_address()
    return f"worker {os.getpid()}" if node == "127.0.0.1" else f"worker {node}:{os.getpid()}"


def mark(work: Path) -> str:
    """The name of a file by which workers see that they see the folder."""
    name = f"ray-{os.urandom(6).hex()}.seen"
    work.mkdir(parents=True, exist_ok=True)
    (work / name).touch()
    return name
