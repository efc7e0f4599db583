"""What a second ensemble does to the idle latency of the first: two servers take turns, one of them with both."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from loadtest.bench.serving import Served, serving
from loadtest.peers.ensembles import Ensemble
from loadtest.peers.machine import Machine, this_machine
from loadtest.peers.wrk import Generator

FORMAT = 1


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """p50 of one connection to the first ensemble, medians of the rounds in ms; `ratio` with ÷ without the second."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    first: str
    second: str
    alone_p50_ms: float
    beside_p50_ms: float
    ratio: float


def measure(
    ensembles: tuple[Ensemble, Ensemble],
    generator: Generator,
    folder: Path,
    *,
    seconds: int,
    rounds: int,
    arguments: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Beside:
    """`seconds` for each figure of each round; raises PeerError."""
    machine, (first, second) = this_machine(), ensembles
    figures: dict[str, list[float]] = {"alone": [], "beside": []}

    def ask(served: Served) -> float:
        found = generator.load(served.server.port, served.request(), connections=1, seconds=seconds)
        return found.p50_us / 1e3

    with (
        serving([first], folder / "alone", arguments) as alone,
        serving([first, second], folder / "beside", arguments) as both,
    ):
        for served in (alone, both):
            ask(served)  # warm
        for turn in range(rounds):
            figures["alone"].append(ask(alone))
            figures["beside"].append(ask(both))
            without, beside = (each[-1] for each in figures.values())
            tell(f"beside, round {turn + 1}: p50 {without:.3f} ms alone, {beside:.3f} ms with {second.name}")
    without, beside = (median(each) for each in figures.values())
    return Beside(
        machine=machine,
        load_after=os.getloadavg()[0],
        first=first.name,
        second=second.name,
        alone_p50_ms=without,
        beside_p50_ms=beside,
        ratio=beside / without,
    )
