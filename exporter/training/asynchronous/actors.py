"""The actors: what shares state in one process, and workers that train."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
import torch

from exporter.optimisation.asynchronous.dataflow import ProducerExchange, TrainerExchange
from exporter.optimisation.asynchronous.local_servers import LocalServers
from exporter.optimisation.asynchronous.pushing import ParameterServerExchange, Servers
from exporter.optimisation.asynchronous.server import Keeping, ParameterServer
from exporter.optimisation.loop import Exchange
from exporter.optimisation.run import EpochDone
from exporter.optimisation.spec import Dataflow
from exporter.optimisation.spec import ParameterServer as Pushing
from exporter.training.asynchronous.remote import RemoteServers, RemoteTable

Asynchronous = Pushing | Dataflow
Observe = Callable[[EpochDone], None]
Work = Callable[[Exchange, Observe], Any]
"""What each worker does: train in a run with the exchange."""


def keeping_of(technique: Asynchronous) -> Keeping:
    """What a server has to know of it."""
    return Keeping(technique.staleness, technique.scale_by_staleness, technique.keep_every)


class ServerActor(ParameterServer):
    """A server of weights; started anew by Ray where it dies."""

    def __init__(self, place: int, folder: Path, keeping: Keeping, table: str) -> None:
        """`table` is the name of the actor: a handle would be lost with the process that was killed."""
        torch.set_num_threads(1)

        super().__init__(place, folder, keeping, RemoteTable(ray.get_actor(table)).started)


class WorkerActor:
    """A worker, a trainer or a producer."""

    def __init__(self, technique: Asynchronous, rank: int, table: Any, servers: Sequence[Any], folder: Path) -> None:
        torch.set_num_threads(1)
        self._technique, self._rank = technique, rank
        self._table, self._servers, self._folder = table, servers, folder

    def pid(self) -> int:
        """Of its process."""
        return os.getpid()

    def work(self, work: Work) -> Any:
        """What comes of the work of a worker or trainer."""
        return work(self._exchange(), self._table.tell.remote)

    def produce(self, work: Work) -> None:
        """A producer's part in the work; what comes of it is the trainers'."""
        work(ProducerExchange(self._rank, RemoteTable(self._table)), lambda _: None)

    def _exchange(self) -> Exchange:
        technique, table = self._technique, RemoteTable(self._table)
        if isinstance(technique, Pushing):
            return ParameterServerExchange(self._rank, technique.workers, table, self._elsewhere())
        return TrainerExchange(
            self._rank, technique.workers, table, self._elsewhere() if self._servers else self._own()
        )

    def _elsewhere(self) -> Servers:
        return RemoteServers(self._servers, self._technique.stall_s)

    def _own(self) -> Servers:
        """A trainer alone keeps its weights to itself."""
        return LocalServers(1, self._folder, keeping_of(self._technique), RemoteTable(self._table).started)
