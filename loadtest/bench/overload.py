"""Overload: the capacity, then an open loop at five times that; what is still answered, and how the rest is refused."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from loadtest.bench.serving import Served
from loadtest.load.runner import run
from loadtest.load.scenarios import Options, plan
from loadtest.peers.ask import ask
from loadtest.peers.machine import Machine
from loadtest.reporting.report import build

FORMAT = 1
PROBE_EVERY_S = 0.05
PROBE_TIMEOUT_S = 0.25
"""A refusal comes at once; a probe that is accepted is given up, for it would wait behind the whole queue."""


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """One overload. Rates in requests/s of one row, latencies in ms from the scheduled time."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    ensemble: str
    capacity_rps: float
    """Answered in a closed loop just before."""
    offered_rps: float
    goodput_rps: float
    goodput_ratio: float
    """Goodput ÷ capacity."""
    accepted_p50_ms: float | None
    accepted_p99_ms: float | None
    refused: int
    refused_p50_ms: float | None
    refused_p99_ms: float | None
    outcomes: dict[str, int]
    probes_refused: int
    probes_with_retry_after: int
    generator: str
    """Whether the load generator kept up; where not, latencies are its own as much as the server's."""


@dataclass(slots=True)
class _Probe:
    """A client beside the load that looks at the refusals' headers."""

    served: Served
    refused: int = 0
    with_retry_after: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        request = self.served.request()
        while not self.ended.wait(PROBE_EVERY_S):
            try:
                status, _, headers = ask(self.served.server.port, request, PROBE_TIMEOUT_S)
            except (OSError, http.client.HTTPException):
                continue  # accepted, or lost: the load counts those
            if status == 503:
                self.refused += 1
                self.with_retry_after += "retry-after" in headers


def measure(
    served: Served, machine: Machine, duration_s: float, tell: Callable[[str], None] = lambda line: None
) -> Overload:
    """A quarter of the time for the capacity, the rest for the overload; raises LoadtestError."""
    options = Options(url=served.url, scenario="overload", duration_s=duration_s, protocol="binary", timeout_s=60)
    probe = _Probe(served)
    thread = threading.Thread(target=probe.run)
    thread.start()
    try:
        tell(f"overload: {duration_s:g} s on {served.ensembles[0].name}")
        report = build(run(plan(options)))
    finally:
        probe.ended.set()
        thread.join()
    capacity, overload = report.phases[0], report.phases[-1]
    refused = report.outcomes.get("refused")
    return Overload(
        machine=machine,
        load_after=os.getloadavg()[0],
        ensemble=served.ensembles[0].name,
        capacity_rps=capacity.answered_rps,
        offered_rps=overload.offered_rps or 0.0,
        goodput_rps=overload.answered_rps,
        goodput_ratio=overload.answered_rps / capacity.answered_rps,
        accepted_p50_ms=overload.latency.p50_ms,
        accepted_p99_ms=overload.latency.p99_ms,
        refused=overload.outcomes.get("refused", 0),
        refused_p50_ms=refused.latency.p50_ms if refused else None,
        refused_p99_ms=refused.latency.p99_ms if refused else None,
        outcomes=overload.outcomes,
        probes_refused=probe.refused,
        probes_with_retry_after=probe.with_retry_after,
        generator=report.client.verdict,
    )
