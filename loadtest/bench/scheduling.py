"""How long tasks take together on any number of workers, by list scheduling: whoever is free takes the next."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import msgspec


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the first task's begin to the last one's end on so many workers."""

    workers: int
    recipe_order_s: float
    longest_first_s: float
    bound_s: float
    """No order is faster: the longest task, or all of them evenly shared."""


def makespan(seconds: Sequence[float], workers: int) -> float:
    """List scheduling (Graham, 1969) of the tasks in the order given."""
    free = [0.0] * max(1, min(workers, len(seconds)))
    for took in seconds:
        heapq.heapreplace(free, free[0] + took)
    return max(free)


def schedule(seconds: Sequence[float], workers: int) -> Schedule:
    """Tasks of these seconds, which are in the recipe's order. Starting workers and moving data are not counted."""
    return Schedule(
        workers=workers,
        recipe_order_s=makespan(seconds, workers),
        longest_first_s=makespan(sorted(seconds, reverse=True), workers),
        bound_s=max(max(seconds, default=0.0), sum(seconds) / workers),
    )
