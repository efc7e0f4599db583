"""Many rows a request beside onnxruntime alone, on the cores that the load generator leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from loadtest.bench.cores import on, split
from loadtest.bench.serving import serving_repository
from loadtest.peers.ensembles import Ensemble
from loadtest.peers.machine import Machine, this_machine
from loadtest.peers.publishing import publish
from loadtest.peers.rounds import alone
from loadtest.peers.wrk import Generator

FORMAT = 1
CONNECTIONS = 16
BATCH_ROWS = 512
"""Of Tutti, for all connections' rows at once; onnxruntime alone is tried with up to 256."""
BARE_S = 8.0
"""An eighth for each batch size, plan and number of lanes."""


class ManyRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows a second; medians of the rounds. `bare`: the best batch size, plan and lanes of onnxruntime alone."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    ensemble: str
    rows: int
    cores: int
    """Of the server, and of onnxruntime alone."""
    served_rows_per_s: float
    bare_rows_per_s: float
    bare_with: str
    ratio: float


def measure(
    ensemble: Ensemble,
    generator: Generator,
    folder: Path,
    *,
    rows: int,
    seconds: int,
    rounds: int,
    arguments: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> ManyRows:
    """Binary requests of `rows` rows at 16 connections, in turns with onnxruntime alone; raises PeerError."""
    machine, cores = this_machine(), split()
    served_rates: list[float] = []
    bare: dict[str, list[float]] = {}
    repository = folder / "models"
    publish(ensemble, repository, ["--max-batch-rows", str(BATCH_ROWS)])
    with serving_repository(repository, [ensemble], folder, arguments, apart=True) as served:
        for turn in range(rounds):
            found = generator.load(served.server.port, served.request(rows), connections=CONNECTIONS, seconds=seconds)
            served_rates.append(found.rps * rows)
            with on(cores.server):
                for one in alone(ensemble, BARE_S):
                    way = f"{one.plan}, {one.rows} rows a batch, {one.lanes} lanes"
                    bare.setdefault(way, []).append(one.rows_per_s)
            tell(f"rows, round {turn + 1}: {served_rates[-1]:,.0f} rows/s")
    best, rates = max(bare.items(), key=lambda item: median(item[1]))
    served_rate, bare_rate = median(served_rates), median(rates)
    return ManyRows(
        machine=machine,
        load_after=os.getloadavg()[0],
        ensemble=ensemble.name,
        rows=rows,
        cores=len(cores.server),
        served_rows_per_s=served_rate,
        bare_rows_per_s=bare_rate,
        bare_with=best,
        ratio=served_rate / bare_rate,
    )
