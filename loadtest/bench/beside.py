"""What a second ensemble, idle or busy, does to the latency of the first: two servers take turns, one with both."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import msgspec

from loadtest.bench.serving import Served, serving
from loadtest.peers.ensembles import Ensemble
from loadtest.peers.errors import PeerError
from loadtest.peers.machine import Machine, this_machine
from loadtest.peers.wrk import Figures, Generator

FORMAT = 2
RAMP_S = 1
"""For the queue of the second to fill."""


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """Latency of one connection to the first ensemble, medians of the rounds in ms; ratios with ÷ without the second.

    `busy`: connections that ask the second all the while, each as soon as it has its answer; `busy_rps` of it answered.
    """

    format: int = FORMAT
    machine: Machine
    load_after: float
    first: str
    second: str
    alone_p50_ms: float
    beside_p50_ms: float
    ratio: float
    alone_p99_ms: float
    beside_p99_ms: float
    p99_ratio: float
    busy: int = 0
    busy_rps: float = 0.0


def measure(
    ensembles: tuple[Ensemble, Ensemble],
    generator: Generator,
    folder: Path,
    *,
    seconds: int,
    rounds: int,
    busy: int = 0,
    arguments: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Beside:
    """`seconds` for each figure of each round; raises PeerError."""
    machine, (first, second) = this_machine(), ensembles
    figures: dict[str, list[Figures]] = {"alone": [], "beside": []}
    answered: list[Figures] = []

    def ask(served: Served) -> Figures:
        return generator.load(served.server.port, served.request(), connections=1, seconds=seconds)

    with (
        serving([first], folder / "alone", arguments) as alone,
        serving([first, second], folder / "beside", arguments) as both,
    ):
        for served in (alone, both):
            ask(served)  # warm
        for turn in range(rounds):
            figures["alone"].append(ask(alone))
            with _busy(both, replace(generator, folder=folder / "busy"), busy, RAMP_S + seconds, answered):
                figures["beside"].append(ask(both))
            without, beside = (each[-1] for each in figures.values())
            tell(
                f"beside, round {turn + 1}: p50 {without.p50_us / 1e3:.3f} ms alone, "
                f"{beside.p50_us / 1e3:.3f} ms with {second.name}; "
                f"p99 {without.p99_us / 1e3:.3f} and {beside.p99_us / 1e3:.3f} ms"
            )
    without_p50, beside_p50 = (median(one.p50_us for one in each) / 1e3 for each in figures.values())
    without_p99, beside_p99 = (median(one.p99_us for one in each) / 1e3 for each in figures.values())
    return Beside(
        machine=machine,
        load_after=os.getloadavg()[0],
        first=first.name,
        second=second.name,
        alone_p50_ms=without_p50,
        beside_p50_ms=beside_p50,
        ratio=beside_p50 / without_p50,
        alone_p99_ms=without_p99,
        beside_p99_ms=beside_p99,
        p99_ratio=beside_p99 / without_p99,
        busy=busy,
        busy_rps=median(one.rps for one in answered) if answered else 0.0,
    )


@contextmanager
def _busy(
    served: Served, generator: Generator, connections: int, seconds: int, answered: list[Figures]
) -> Iterator[None]:
    """The second ensemble saturated for so many seconds; what was answered goes to `answered`. Raises PeerError."""
    if not connections:
        yield
        return
    failed: list[PeerError] = []

    def load() -> None:
        try:
            answered.append(
                generator.load(served.server.port, served.request(ensemble=1), connections=connections, seconds=seconds)
            )
        except PeerError as error:
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        thread.join(RAMP_S)
        yield
    finally:
        thread.join()
    if failed:
        raise failed[0]
