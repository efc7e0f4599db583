"""How long one row takes, measured on the machine that exports."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

WARM_UP = 10
RUNS = 100


def latency_ms(answer: Callable[[], object], runs: int = RUNS) -> float:
    """Median milliseconds of a call; the first ten are not counted."""
    for _ in range(WARM_UP):
        answer()
    times = []
    for _ in range(runs):
        started = perf_counter()
        answer()
        times.append(perf_counter() - started)
    times.sort()
    return times[len(times) // 2] * 1e3
