"""This checkout beside another one, the commit before for instance: whether a change has made requests slower."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

from loadtest.bench.serving import Served, serving_repository
from loadtest.peers.ensembles import Ensemble
from loadtest.peers.errors import PeerError
from loadtest.peers.formats import Protocol
from loadtest.peers.machine import Machine, this_machine
from loadtest.peers.publishing import publish
from loadtest.peers.wrk import Figures, Generator

FORMAT = 1
PROTOCOLS: tuple[Protocol, ...] = ("json", "binary")
CONNECTIONS = (64, 1)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of load: medians of the rounds; `ratio` is the median of now ÷ before round by round, of requests/s."""

    protocol: Protocol
    connections: int
    before_rps: float
    now_rps: float
    ratio: float
    before_p99_ms: float
    now_p99_ms: float
    before_cpu_us: float
    now_cpu_us: float
    cpu_ratio: float
    """Of the server's processor time a request: on a machine that others use it says more than requests/s."""


class Checkouts(msgspec.Struct, frozen=True, kw_only=True):
    """The same ensemble served by both, round after round, each first in every other one."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    ensemble: str
    before: str
    rounds: int
    pairs: tuple[Pair, ...]


def measure(
    ensemble: Ensemble,
    before: Path,
    generator: Generator,
    folder: Path,
    *,
    seconds: int,
    rounds: int,
    arguments: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Checkouts:
    """`seconds` for each figure of each round. Raises PeerError where `before` is no checkout or does not serve."""
    if not (before / "tutti.py").is_file():
        raise PeerError(f"--before {before}: has no tutti.py; expected the folder of another checkout")
    machine, repositories = this_machine(), (folder / "before" / "models", folder / "now" / "models")
    publish(ensemble, repositories[0], checkout=before)  # its own format
    publish(ensemble, repositories[1])
    kinds = [(protocol, connections) for protocol in PROTOCOLS for connections in CONNECTIONS]
    found: dict[tuple[Protocol, int], list[tuple[_Round, _Round]]] = {kind: [] for kind in kinds}
    with (
        serving_repository(repositories[0], [ensemble], folder / "before", arguments, checkout=before) as old,
        serving_repository(repositories[1], [ensemble], folder / "now", arguments) as new,
    ):

        def ask(served: Served, protocol: Protocol, connections: int) -> _Round:
            request, used = served.request(protocol=protocol), served.server.cpu_s()
            figures = generator.load(served.server.port, request, connections=connections, seconds=seconds)
            return _Round(figures, (served.server.cpu_s() - used) / max(1, figures.requests) * 1e6)

        for served in (old, new):
            ask(served, "json", CONNECTIONS[0])  # warm
        for turn in range(rounds):
            for protocol, connections in kinds:
                order = (old, new) if turn % 2 else (new, old)
                figures = {id(served): ask(served, protocol, connections) for served in order}
                first, second = figures[id(old)], figures[id(new)]
                found[protocol, connections].append((first, second))
                tell(
                    f"round {turn + 1}, {protocol}, {connections} connections: {first.figures.rps:,.0f}/s before, "
                    f"{second.figures.rps:,.0f}/s now; {first.cpu_us:.1f} and {second.cpu_us:.1f} µs of processor time"
                )
    return Checkouts(
        machine=machine,
        load_after=os.getloadavg()[0],
        ensemble=ensemble.name,
        before=before.name,
        rounds=rounds,
        pairs=tuple(_pair(protocol, connections, each) for (protocol, connections), each in found.items()),
    )


@dataclass(frozen=True, slots=True)
class _Round:
    figures: Figures
    cpu_us: float


def _pair(protocol: Protocol, connections: int, rounds: Sequence[tuple[_Round, _Round]]) -> Pair:
    return Pair(
        protocol=protocol,
        connections=connections,
        before_rps=median(old.figures.rps for old, _ in rounds),
        now_rps=median(new.figures.rps for _, new in rounds),
        ratio=median(new.figures.rps / max(1.0, old.figures.rps) for old, new in rounds),
        before_p99_ms=median(old.figures.p99_us for old, _ in rounds) / 1e3,
        now_p99_ms=median(new.figures.p99_us for _, new in rounds) / 1e3,
        before_cpu_us=median(old.cpu_us for old, _ in rounds),
        now_cpu_us=median(new.cpu_us for _, new in rounds),
        cpu_ratio=median(new.cpu_us / max(1e-9, old.cpu_us) for old, new in rounds),
    )
