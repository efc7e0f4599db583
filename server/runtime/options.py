"""How an ensemble is to be executed on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Literal

from model_repo import Provider

PlanName = Literal["sequential", "parallel", "merged"]
MOST_LAYOUTS = 4
"""To choose among on one machine: each that is compared opens sessions of its own."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`lanes` batches at once, `threads` inside each run: lanes × threads ≤ cores."""

    lanes: int
    threads: int

    def __str__(self) -> str:
        lanes = f"{self.lanes} lane{'s' if self.lanes > 1 else ''}"
        return lanes if self.threads == 1 else f"{lanes} × {self.threads} threads"


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan with the figures that chose it; `problems` says why a plan, or a layout, was not among them.

    `seconds` holds the chosen plan's time for batches of 0, 1, 2, … rows. `layout` is what it runs in, `threads`
    those of each member in order; none where they are the layout's.
    """

    plan: PlanName
    report: Mapping[str, Mapping[int, float]]
    problems: Mapping[str, str]
    seconds: Sequence[float] = ()
    layout: Layout = field(default_factory=lambda: Layout(1, 1))
    threads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """The server's settings as far as execution goes.

    `cores` is the thread budget. `lanes` 0 starts from one lane per core with one thread each (measured on two
    cores: twice the rows of one lane) and leaves it to measuring at load whether fewer lanes with more threads
    are better; any other number is taken, and gives the cores that are left to the runs as threads. `providers`
    is what an ensemble gets that names none itself; empty means CPU. `policy` is `strict` if either this or the
    manifest says so.
    """

    cores: int
    plan: Literal["auto", "sequential", "parallel", "merged"] = "auto"
    lanes: int = 0
    providers: tuple[Provider, ...] = ()
    policy: Literal["strict", "prefer"] = "prefer"

    def layout(self) -> Layout:
        """Lanes and threads within the budget, at least one of each: what holds until something else is measured."""
        return self._layout(self.lanes or self.cores)

    def layouts(self) -> tuple[Layout, ...]:
        """The layouts to choose among, `layout()` first, then ever fewer lanes with more threads each.

        At most four: steps of two up to 15 cores, of four up to 255. Only one where `lanes` is given.
        """
        if self.lanes:
            return (self.layout(),)
        step = 2
        while step**MOST_LAYOUTS <= self.cores:
            step *= 2
        threads = takewhile(lambda threads: threads <= max(1, self.cores), (step**power for power in count()))
        return tuple(self._layout(self.cores // each) for each in threads)

    def _layout(self, lanes: int) -> Layout:
        cores = max(1, self.cores)
        lanes = max(1, min(lanes, cores))
        return Layout(lanes, cores // lanes)
