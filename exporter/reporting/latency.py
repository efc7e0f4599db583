"""How long one row takes, measured on the machine that exports."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

WARM_UP = 10
RUNS = 100
LEAST_RUNS = 5
LONGEST_S = 2.0
"""Of one measurement: a member that takes a second a row is known after a few."""


def latency_ms(answer: Callable[[], object], runs: int = RUNS) -> float:
    """Median milliseconds of a call; the first ten are not counted (of slow ones fewer, but at least one)."""
    end = perf_counter() + LONGEST_S
    for _ in range(WARM_UP):
        answer()
        if perf_counter() > end - LONGEST_S / 2:
            break
    times: list[float] = []
    while len(times) < runs and (len(times) < LEAST_RUNS or perf_counter() < end):
        started = perf_counter()
        answer()
        times.append(perf_counter() - started)
    times.sort()
    return times[len(times) // 2] * 1e3
