"""Tasks of a Ray cluster, one that runs or one that is begun here and ended.

Ray is spoken to by a process of its own: what Ray prints goes to a file, its settings are of no other's environment,
and whatever becomes of the export, that process shuts the cluster down.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import tempfile
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from exporter.errors import ExportError
from exporter.training.cluster import driver
from exporter.training.cluster.messages import Connected, Finished, Order, Refused
from exporter.training.engines.engine import Done, Failed, Given, Outcome, Task, Tell
from exporter.training.engines.local import hand_over
from model_repo.cli.distribution import install_extra

_BEGIN_S, _REACH_S = 180.0, 60.0
"""A cluster that is begun here is there in seconds, one that runs sooner; on a busy machine both take their time. One
that listens elsewhere than it says (a head on 127.0.0.1 alone) would never be reached."""
_END_S = 30.0
"""What the driver has to shut a cluster down."""


class RayEngine:
    """The cluster is there from the first run to the end."""

    name = "ray"

    def __init__(self, workers: int, address: str | None) -> None:
        """`workers` 0: as many as a running cluster has processors. Raises ExportError without Ray."""
        if importlib.util.find_spec("ray") is None:
            raise ExportError(f"--engine ray needs the package 'ray': {install_extra('distributed')}")
        self.workers, self._address = workers, address
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def run(self, tasks: Sequence[Task], given: Given, tell: Tell) -> Generator[Outcome, None, None]:
        """See `Engine`. Raises ExportError where no cluster is reached, or it is too small for a gang."""
        if not tasks:
            return
        try:
            connection, folder = self._begun(max(task.ranks for task in tasks))
            connection.send(Order(tuple(tasks), hand_over(folder, given)))
            while not isinstance(message := self._heard(connection), Finished):
                if isinstance(message, Done | Failed):
                    yield message
                elif not isinstance(message, Connected | Refused):
                    tell(message)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the driver, and with it the cluster that it began."""
        if self._process is None or self._connection is None or self._folder is None:
            return
        self._connection.close()  # which it takes for the end
        self._process.join(0.1)
        self._process.terminate()
        self._process.join(_END_S)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()
        self._folder.cleanup()
        self._process = self._connection = self._folder = None

    def _begun(self, most_ranks: int) -> tuple[Connection, Path]:
        if self._connection is not None and self._folder is not None:
            return self._connection, Path(self._folder.name)
        # A short path: sockets of the cluster lie below it, and their names may have 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="tutti-", dir="/tmp" if Path("/tmp").is_dir() else None)  # noqa: S108
        spawn = multiprocessing.get_context("spawn")
        self._connection, its = spawn.Pipe()
        folder = Path(self._folder.name)
        cpus = max(self.workers, most_ranks)
        self._process = spawn.Process(target=driver.main, args=(its, folder, self.workers, cpus, self._address))
        self._process.start()
        its.close()
        patience = _BEGIN_S if self._address is None else _REACH_S
        if not self._connection.poll(patience):
            raise ExportError(f"{_cluster(self._address)} was not reached within {patience:.0f} s")
        message = self._heard(self._connection)
        assert isinstance(message, Connected), "the first message; a bug"
        self.workers = message.workers
        return self._connection, folder

    def _heard(self, connection: Connection) -> driver.Message:
        try:
            message: driver.Message = connection.recv()
        except (EOFError, OSError) as error:
            assert self._process is not None
            self._process.join(1)
            raise ExportError(
                f"the process that talks to {_cluster(self._address)} died with status {self._process.exitcode}"
            ) from error
        if isinstance(message, Refused):
            raise ExportError(message.reason)
        return message


def _cluster(address: str | None) -> str:
    return "the Ray cluster" if address is None else f"--address {address}: the Ray cluster"
