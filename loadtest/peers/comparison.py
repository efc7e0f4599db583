"""The figures of a sitting: medians over its rounds, and ratios to Tutti round by round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from loadtest.peers.catalogue import Kind
from loadtest.peers.formats import Protocol
from loadtest.peers.machine import Machine
from loadtest.peers.wrk import Figures

FORMAT = 1
REFERENCE = "tutti"


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One peer, one ensemble, one protocol, one number of connections, one round."""

    round: int
    peer: str
    title: str
    kind: Kind
    ensemble: str
    protocol: Protocol
    connections: int
    figures: Figures
    others: float
    """Share of all cores that other programs used meanwhile, 0 to 1."""
    server_cpu_s: float
    """Processor seconds of the server and its children meanwhile."""

    @property
    def cpu_us(self) -> float | None:
        """The server's processor time per good answer; None where there was none."""
        answered = self.figures.requests - self.figures.status
        return self.server_cpu_s / answered * 1e6 if answered > 0 else None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The rounds of one cell of the table together."""

    peer: str
    title: str
    kind: Kind
    ensemble: str
    protocol: Protocol
    connections: int
    rounds: int
    rps: float
    """Answers below 400 per second; median of the rounds, as the next two."""
    p50_ms: float
    p99_ms: float
    lowest_rps: float
    highest_rps: float
    cpu_us: float | None
    """The server's processor time per answer, median: says most where other programs share the machine."""
    errors: int
    """Answers above 399 and socket errors, all rounds together."""
    tutti_ratio: float | None
    """Tutti's requests/s ÷ this one's, each round with its own, median; None without Tutti in the sitting."""
    tutti_p99_ratio: float | None
    """Tutti's p99 ÷ this one's, the same way."""


class Bare(msgspec.Struct, frozen=True, kw_only=True):
    """onnxruntime alone in one process."""

    ensemble: str
    plan: str
    rows: int
    lanes: int
    rows_per_s: float
    p50_ms: float | None = None
    """Of one row after the other; only where `rows` and `lanes` are 1."""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A peer that gave no figures for an ensemble, and why."""

    peer: str
    ensemble: str
    reason: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A whole sitting; its JSON is stable, keys are only ever added."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    """1-minute load average behind the last measurement: the sitting's own load is in it."""
    seconds: int
    rounds: int
    files: str
    """`members` or `merged`: what the peers were given."""
    versions: dict[str, dict[str, str]]
    """Environment → pinned package → version."""
    results: list[Result]
    bare: list[Bare]
    skipped: list[Skipped]
    measurements: list[Measurement]


def results(measurements: Sequence[Measurement]) -> list[Result]:
    """One result a cell, in the order in which the cells were first measured."""
    cells: dict[tuple[str, str, str, int], list[Measurement]] = {}
    for one in measurements:
        cells.setdefault((one.ensemble, one.protocol, one.peer, one.connections), []).append(one)
    found = []
    for (ensemble, protocol, _, connections), own in cells.items():
        tutti = cells.get((ensemble, protocol, REFERENCE, connections), [])
        found.append(_result(own, tutti))
    return found


def bare_medians(measured: Sequence[Bare]) -> list[Bare]:
    """Of several rounds: the median of each setting."""
    settings: dict[tuple[str, str, int, int], list[Bare]] = {}
    for one in measured:
        settings.setdefault((one.ensemble, one.plan, one.rows, one.lanes), []).append(one)
    return [
        msgspec.structs.replace(
            group[0],
            rows_per_s=statistics.median(one.rows_per_s for one in group),
            p50_ms=statistics.median(one.p50_ms for one in group if one.p50_ms is not None)
            if group[0].p50_ms is not None
            else None,
        )
        for group in settings.values()
    ]


def _result(own: Sequence[Measurement], tutti: Sequence[Measurement]) -> Result:
    first = own[0]
    rates = [one.figures.rps for one in own]
    costs = [cost for one in own if (cost := one.cpu_us) is not None]
    return Result(
        peer=first.peer,
        title=first.title,
        kind=first.kind,
        ensemble=first.ensemble,
        protocol=first.protocol,
        connections=first.connections,
        rounds=len(own),
        rps=statistics.median(rates),
        p50_ms=statistics.median(one.figures.p50_us for one in own) / 1e3,
        p99_ms=statistics.median(one.figures.p99_us for one in own) / 1e3,
        lowest_rps=min(rates),
        highest_rps=max(rates),
        cpu_us=statistics.median(costs) if costs else None,
        errors=sum(one.figures.errors for one in own),
        tutti_ratio=_ratio((ours.figures.rps, its.figures.rps) for ours, its in _paired(tutti, own)),
        tutti_p99_ratio=_ratio((ours.figures.p99_us, its.figures.p99_us) for ours, its in _paired(tutti, own)),
    )


def _paired(tutti: Sequence[Measurement], own: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Measurements of the same round: the machine drifts between rounds, less within one."""
    by_round = {one.round: one for one in tutti}
    return [(by_round[one.round], one) for one in own if one.round in by_round]


def _ratio(pairs: Iterable[tuple[float, float]]) -> float | None:
    ratios = [ours / its for ours, its in pairs if its > 0]
    return statistics.median(ratios) if ratios else None
