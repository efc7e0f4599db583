"""Swaps under steady load at half of the capacity: what a new version does to p99, and how soon it answers.

Two kinds of version: one that shares every member with its predecessor (only the manifest is new, as when fusion
weights change), and one whose members are all new. Both are prepared beforehand and appear by one rename, so that
what is measured is the server's loading, not the publisher's.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from loadtest.bench.serving import serving_repository
from loadtest.load.runner import run
from loadtest.load.scenarios import Options, plan
from loadtest.peers.ensembles import Ensemble
from loadtest.peers.errors import PeerError
from loadtest.peers.machine import Machine, this_machine
from loadtest.peers.publishing import publish
from loadtest.reporting.report import build
from loadtest.reporting.swap_report import SwapsReport

FORMAT = 1
CAPACITY_S = 3.0
CAPACITY_CONNECTIONS = 64
SHARE = 0.5

Kind = Literal["shared members", "new members"]

# Moves the lowest prepared version into the served repository and prints its number. A shell: starting Python takes
# 50 ms of a core, which the requests beside it would pay.
_MOVE = """\
number=$(ls "$0" | grep -x '[0-9]*' | sort -n | head -n 1) && mv "$0/$number" "$1/$number" && echo "$number"
"""


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """One run with several swaps."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    ensemble: str
    kind: Kind
    capacity_rps: float
    offered_rps: float
    swaps: SwapsReport
    failures: int
    problems: list[str]
    generator: str


def measure(
    make: Callable[[int], Ensemble],
    kind: Kind,
    folder: Path,
    *,
    swaps: int,
    duration_s: float,
    arguments: Sequence[str] = (),
    apart: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Swap:
    """`make(number)` writes the members of version `number`; raises LoadtestError."""
    machine = this_machine()
    ensemble = make(1)
    prepared, repository = folder / "prepared", folder / "models"
    for number in range(1, swaps + 2):
        publish(make(number if kind == "new members" else 1), prepared)
    (repository / ensemble.name).mkdir(parents=True)
    os.rename(prepared / ensemble.name / "1", repository / ensemble.name / "1")
    move = shlex.join(["sh", "-c", _MOVE, *(str(one / ensemble.name) for one in (prepared, repository))])
    with serving_repository(repository, [ensemble], folder, arguments, apart=apart) as served:
        closed = Options(url=served.url, protocol="binary", connections=CAPACITY_CONNECTIONS, duration_s=CAPACITY_S)
        capacity = build(run(plan(closed))).answered_rps
        if not capacity:
            raise PeerError(f"{ensemble.name}: no request was answered while the capacity was measured")
        tell(f"swap, {kind}: {swaps} swaps at {capacity * SHARE:,.0f} requests/s, half of {capacity:,.0f}")
        steady = Options(
            url=served.url, protocol="binary", scenario="swap", rate=capacity * SHARE, duration_s=duration_s,
            swaps=swaps, swap_command=move,
        )  # fmt: skip
        report = build(run(plan(steady)))
    if report.swaps_together is None:
        raise PeerError(f"{ensemble.name}: no version was published: {'; '.join(report.problems)}")
    return Swap(
        machine=machine,
        load_after=os.getloadavg()[0],
        ensemble=ensemble.name,
        kind=kind,
        capacity_rps=capacity,
        offered_rps=capacity * SHARE,
        swaps=report.swaps_together,
        failures=report.swaps_together.failures,
        problems=report.problems,
        generator=report.client.verdict,
    )
