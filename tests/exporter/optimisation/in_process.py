"""Servers and workers of one process: the same objects that are actors in a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exporter.optimisation.asynchronous.lease_table import LeaseTable
from exporter.optimisation.asynchronous.pushing import ParameterServerExchange
from exporter.optimisation.asynchronous.server import Keeping, ParameterServer
from exporter.optimisation.problem import Problem
from exporter.optimisation.run import Run, optimise, training_in
from exporter.optimisation.spec import ParameterServer as Technique


class LocalServers:
    """Called one after another. `restart` is a server that died and is started anew."""

    def __init__(self, technique: Technique, folder: Path, table: LeaseTable) -> None:
        self.count = technique.servers
        self._folder, self._table = folder, table
        self._keeping = Keeping(technique.staleness, technique.scale_by_staleness, technique.keep_every)
        self.all = [self._server(place) for place in range(self.count)]

    def _server(self, place: int) -> ParameterServer:
        return ParameterServer(place, self._folder, self._keeping, self._table.started)

    def restart(self, place: int) -> None:
        """What it had not kept is forgotten."""
        self.all[place] = self._server(place)

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """As in the protocol."""
        return [getattr(server, method)(*given) for server, given in zip(self.all, arguments, strict=True)]


def trained_by_threads(
    technique: Technique,
    folder: Path,
    problems: Sequence[Problem],
    disturbed: Callable[[LeaseTable, LocalServers], None] = lambda *_: None,
) -> tuple[LeaseTable, LocalServers, list[ParameterServerExchange]]:
    """Each problem is a worker's own view of the same one."""
    table = LeaseTable(technique.stall_s)
    servers = LocalServers(technique, folder, table)
    exchanges = [ParameterServerExchange(rank, len(problems), table, servers) for rank in range(len(problems))]
    failed: list[BaseException] = []

    def work(exchange: ParameterServerExchange, problem: Problem) -> None:
        try:
            with training_in(Run(exchange)):
                optimise(problem)
        except BaseException as error:
            failed.append(error)
            table.release(f"worker {exchange.rank + 1}")

    threads = [threading.Thread(target=work, args=pair) for pair in zip(exchanges, problems, strict=True)]
    for thread in threads:
        thread.start()
    disturbed(table, servers)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a worker waits for ever"
    if failed and len(failed) == len(threads):
        raise failed[0]
    return table, servers, exchanges
