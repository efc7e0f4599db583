"""When requests are due: an open-loop process does not wait for answers, as real clients do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Process = Literal["poisson", "constant"]

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of `seconds` at `rate` requests/s, reported under `name`."""

    name: str
    seconds: float
    rate: float


def spans(phases: Sequence[Phase]) -> list[tuple[Phase, float, float]]:
    """Each phase with its start and end, seconds since the first began."""
    found = []
    start = 0.0
    for phase in phases:
        found.append((phase, start, start + phase.seconds))
        start += phase.seconds
    return found


def arrivals(phases: Sequence[Phase], process: Process, rng: np.random.Generator) -> Iterator[float]:
    """Due times in seconds since the start, ascending; `poisson` has exponential gaps, `constant` equal."""
    for phase, start, end in spans(phases):
        for due in _endless(phase.rate, process, rng):
            if start + due >= end:
                break
            yield start + due


def extended(
    due_times: Iterator[float],
    until: Callable[[], bool],
    rate: float,
    process: Process,
    rng: np.random.Generator,
    *,
    end_s: float,
    at_most_s: float,
) -> Iterator[float]:
    """`due_times`, which end at `end_s`, then more at `rate` until `until()` holds or `at_most_s`."""
    yield from due_times
    for due in _endless(rate, process, rng):
        if until() or end_s + due >= at_most_s:
            return
        yield end_s + due


def _endless(rate: float, process: Process, rng: np.random.Generator) -> Iterator[float]:
    due = 0.0
    while True:
        gaps = rng.exponential(1 / rate, _CHUNK) if process == "poisson" else np.full(_CHUNK, 1 / rate)
        for gap in gaps.tolist():
            due += gap
            yield due
