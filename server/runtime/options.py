"""How an ensemble is to be executed on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model_repo import Provider

PlanName = Literal["sequential", "parallel", "merged"]


@dataclass(frozen=True, slots=True)
class Layout:
    """`lanes` batches at once, `threads` inside each run: lanes × threads ≤ cores."""

    lanes: int
    threads: int


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """The server's settings as far as execution goes.

    `cores` is the thread budget. `lanes` 0 takes one lane per core with one thread each (measured: two lanes
    of one thread give twice the rows of one lane, and no other layout gave more); a smaller number gives the
    cores that are left to the runs as threads. `providers` is what an ensemble gets that names none itself;
    empty means CPU. `policy` is `strict` if either this or the manifest says so.
    """

    cores: int
    plan: Literal["auto", "sequential", "parallel", "merged"] = "auto"
    lanes: int = 0
    providers: tuple[Provider, ...] = ()
    policy: Literal["strict", "prefer"] = "prefer"

    def layout(self) -> Layout:
        """Lanes and threads within the budget, at least one of each."""
        cores = max(1, self.cores)
        lanes = min(self.lanes or cores, cores)
        return Layout(lanes, cores // lanes)
