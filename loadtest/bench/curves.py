"""Cost curves: how throughput and latency go with members, rows a request, connections and models served."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from loadtest.bench.exponent import exponent
from loadtest.bench.serving import Served, serving
from loadtest.peers.ensembles import CLASSES, Ensemble, write
from loadtest.peers.machine import Machine, this_machine
from loadtest.peers.neighbours import Watch
from loadtest.peers.networks import perceptron
from loadtest.peers.wrk import Generator

FORMAT = 1
FEATURES = 64
BUSY_CONNECTIONS = 64
QUEUE_ROWS = 1024
"""Rows that a version queues by default; those above are refused."""

Name = Literal["members", "rows", "connections", "models"]
MEMBERS = (1, 2, 4, 8, 16, 32)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MODELS = (1, 3, 10, 30, 100)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One size. `busy`: at 64 connections (the curves `connections` and `rows` say their own); `alone`: at one."""

    size: int
    busy_rps: float
    busy_p99_ms: float
    alone_p50_ms: float
    errors: int
    others: float
    """Largest share of the machine that other programs used meanwhile, 0 to 1."""
    rss_mib: float
    start_s: float
    """From starting the process to the first answer of its last ensemble."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Points over one size, and the exponents of what a size costs."""

    name: Name
    what: str
    points: list[Point]
    time_exponent: float | None
    """Of the server's seconds per request when busy: 1 ÷ requests/s."""
    latency_exponent: float | None
    """Of the median latency of one connection."""


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """All curves of a sitting."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    seconds: int
    curves: list[Curve]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`seconds` for each figure; `folder` for files; `sizes` thinned by `quick`."""

    generator: Generator
    folder: Path
    seconds: int = 2
    names: Sequence[Name] = ("members", "rows", "connections", "models")
    quick: bool = True
    arguments: Sequence[str] = ()
    tell: Callable[[str], None] = lambda line: None


def measure(plan: Plan) -> Curves:
    """The curves of the plan; raises PeerError."""
    machine = this_machine()
    found = []
    for name in plan.names:
        points = []
        for point in _CURVES[name](plan):
            points.append(point)
            plan.tell(
                f"{name} {point.size}: {point.busy_rps:,.0f} requests/s, p99 {point.busy_p99_ms:.1f} ms; "
                f"one connection {point.alone_p50_ms:.2f} ms; others used {point.others:.0%}"
            )
        found.append(curve(name, points))
    return Curves(machine=machine, load_after=os.getloadavg()[0], seconds=plan.seconds, curves=found)


def curve(name: Name, points: list[Point]) -> Curve:
    """The points with their exponents."""
    sizes = [point.size for point in points]
    return Curve(
        name=name,
        what=WHAT[name],
        points=points,
        time_exponent=exponent(sizes, [1 / point.busy_rps if point.busy_rps else 0.0 for point in points]),
        latency_exponent=exponent(sizes, [point.alone_p50_ms for point in points]),
    )


WHAT: dict[Name, str] = {
    "members": "members of the ensemble, each 64 → 64 → 10",
    "rows": "rows a request, binary, three members, at most 1,024 rows at once",
    "connections": "connections, one row a request, three members",
    "models": "ensembles served by one process, requests to all in turn",
}


def _members(plan: Plan) -> Iterator[Point]:
    for count in thinned(MEMBERS, plan.quick):
        folder = plan.folder / f"members{count}"
        yield _point(plan, count, [_ensemble("curve", count, folder)], folder)


def _rows(plan: Plan) -> Iterator[Point]:
    folder = plan.folder / "rows"
    with serving([_ensemble("curve", 3, folder)], folder, plan.arguments) as served:
        for rows in thinned(ROWS, plan.quick):
            # Fewer connections for long requests: more rows than the queue holds would measure refusals.
            connections = max(1, min(BUSY_CONNECTIONS, QUEUE_ROWS // rows))
            yield _loaded(plan, served, rows, rows=rows, connections=connections)


def _connections(plan: Plan) -> Iterator[Point]:
    folder = plan.folder / "connections"
    with serving([_ensemble("curve", 3, folder)], folder, plan.arguments) as served:
        for connections in thinned(CONNECTIONS, plan.quick):
            yield _loaded(plan, served, connections, connections=connections)


def _models(plan: Plan) -> Iterator[Point]:
    for count in thinned(MODELS, plan.quick):
        folder = plan.folder / f"models{count}"
        ensembles = [_ensemble(f"curve{number}", 3, folder / str(number), number) for number in range(count)]
        yield _point(plan, count, ensembles, folder)


_CURVES: dict[Name, Callable[[Plan], Iterator[Point]]] = {
    "members": _members, "rows": _rows, "connections": _connections, "models": _models,
}  # fmt: skip


def thinned(sizes: Sequence[int], quick: bool) -> list[int]:
    """Every other size when quick, the last always."""
    return sorted({*sizes[::2], sizes[-1]}) if quick else list(sizes)


def _ensemble(name: str, members: int, folder: Path, seed: int = 0) -> Ensemble:
    made = {f"m{number}": perceptron(FEATURES, (64,), CLASSES, seed * 1000 + number) for number in range(members)}
    return write(name, (FEATURES,), made, folder / "files")


def _point(plan: Plan, size: int, ensembles: Sequence[Ensemble], folder: Path) -> Point:
    with serving(ensembles, folder, plan.arguments) as served:
        return _loaded(plan, served, size)


def _loaded(plan: Plan, served: Served, size: int, *, rows: int = 1, connections: int = BUSY_CONNECTIONS) -> Point:
    request = served.request(rows)
    paths = tuple(f"/v2/models/{one.name}/infer" for one in served.ensembles) if len(served.ensembles) > 1 else ()
    load, port = plan.generator.load, served.server.port
    load(port, request, connections=min(connections, BUSY_CONNECTIONS), seconds=1, paths=paths)
    watch = Watch(served.server)
    busy = load(port, request, connections=connections, seconds=plan.seconds, paths=paths)
    others = watch.others()
    watch = Watch(served.server)
    alone = load(port, request, connections=1, seconds=plan.seconds, paths=paths)
    return Point(
        size=size,
        busy_rps=busy.rps,
        busy_p99_ms=busy.p99_us / 1e3,
        alone_p50_ms=alone.p50_us / 1e3,
        errors=busy.errors + alone.errors,
        others=max(others, watch.others()),
        rss_mib=served.server.rss_bytes() / (1 << 20),
        start_s=served.server.start_s,
    )
