"""Servers and workers of one process: the same objects that are actors in a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.optimisation.asynchronous.lease_table import LeaseTable
from exporter.optimisation.asynchronous.local_servers import LocalServers
from exporter.optimisation.asynchronous.pushing import ParameterServerExchange
from exporter.optimisation.asynchronous.server import Keeping
from exporter.optimisation.problem import Problem
from exporter.optimisation.run import Run, optimise, training_in
from exporter.optimisation.spec import Dataflow
from exporter.optimisation.spec import ParameterServer as Technique


def local_servers(technique: Technique | Dataflow, folder: Path, table: LeaseTable) -> LocalServers:
    """As the technique says."""
    keeping = Keeping(technique.staleness, technique.scale_by_staleness, technique.keep_every)
    return LocalServers(technique.servers, folder, keeping, table.started)


def trained_by_threads(
    technique: Technique,
    folder: Path,
    problems: Sequence[Problem],
    disturbed: Callable[[LeaseTable, LocalServers], None] = lambda *_: None,
) -> tuple[LeaseTable, LocalServers, list[ParameterServerExchange]]:
    """Each problem is a worker's own view of the same one."""
    table = LeaseTable(technique.stall_s)
    servers = local_servers(technique, folder, table)
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
