"""Which plan and which layout is fastest on this machine, and how long a batch takes: measured, not guessed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import TypeVar

BUDGET_S = 0.8
"""For comparing the plans of a small ensemble; a slow one takes a run of each plan at each size."""
PATIENCE_S = 5.0
"""A batch size is left out where one run of each plan would take longer."""
WARM_UP_S = 30.0
"""For running every batch size once; sizes that would pass it are warmed by their first request."""
SHORT_S = 0.002
"""Runs that take less are timed behind one of their own: behind another plan's, which may have waited for threads, the
caches are cold, and that costs as much as a tiny ensemble (measured: 65 µs for what takes 28 by itself)."""
MIDDLE_ROWS = 8
MOST_REPEATS = 30
MARGIN = 0.1
"""By which another layout must have the better score: smaller differences are noise, and real load is another."""
MOST_RATE_LOST = 0.05
"""Of the rows a second with every lane busy, which more threads may cost: they buy idle latency with capacity."""
MOST_HELD_UP = 4
"""Times as long as alone that a batch may take with a core for every lane, at the worst: for planning only."""

Name = TypeVar("Name", bound=Hashable)
Run = Callable[[int], object]
"""Runs one batch of so many rows."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of a batch by rows with nothing else running, and per batch with every lane busy (None: one lane)."""

    idle: dict[int, float] = field(default_factory=dict)
    busy: float | None = None

    @property
    def score(self) -> float:
        """Geometric mean of all figures: a lone row, a middling batch and full load count the same."""
        figures = [*self.idle.values(), *([] if self.busy is None else [self.busy])]
        return math.exp(sum(math.log(max(seconds, 1e-9)) for seconds in figures) / len(figures))


def compared_sizes(most_rows: int) -> tuple[int, ...]:
    """The batch sizes at which plans are compared: one row, a few, the most."""
    return tuple(sorted({1, min(MIDDLE_ROWS, most_rows), most_rows}))


def warmed_sizes(most_rows: int) -> tuple[int, ...]:
    """The powers of two below the most rows of a batch, and that."""
    return (*(1 << power for power in range(most_rows.bit_length()) if 1 << power < most_rows), most_rows)


def compare(runs: Mapping[Name, Run], sizes: Sequence[int], lanes: Mapping[Name, int]) -> dict[Name, Timing]:
    """Timings of each, in alternating rounds so that a drifting machine is fair to all; `lanes` of each by name.

    Median of as many runs as the budget allows, after one that does not count unless it is all there is time for.
    Every lane is busy with the largest batch for which there is time; where no layout has two, nothing is.
    """
    timings = {name: Timing() for name in runs}
    share = BUDGET_S / (len(sizes) + 1)
    once: dict[int, float] = {}
    for rows in sizes:
        if once and once[max(once)] * rows / max(once) > PATIENCE_S:
            break
        first = {name: _timed(run, rows) for name, run in runs.items()}
        once[rows] = sum(first.values())
        timed, cost = (_timed, 1) if once[rows] > SHORT_S * len(runs) else (_timed_warm, 2)
        repeats = _repeats(share, cost * once[rows])
        rounds = [{name: timed(run, rows) for name, run in runs.items()} for _ in range(repeats)] or [first]
        for name, timing in timings.items():
            timing.idle[rows] = median(taken[name] for taken in rounds)
    most = max(lanes.values())
    bearable = [rows for rows, seconds in once.items() if seconds * min(most, MOST_HELD_UP) <= PATIENCE_S]
    if most == 1 or not bearable:
        return timings
    full = bearable[-1]
    repeats = max(1, _repeats(share, once[full] * 2))
    return {
        name: Timing(timing.idle, _busy(runs[name], full, lanes[name], repeats)) for name, timing in timings.items()
    }


def fastest(timings: Mapping[Name, Timing]) -> Name:
    """The one with the best score; the first of equals."""
    return min(timings, key=lambda name: timings[name].score)


def pays(other: Timing, current: Timing) -> bool:
    """Whether changing the layout pays: a score better by the margin, and at full load about the same rate.

    Never where full load was not measured: idle times alone always speak for more threads.
    """
    if other.busy is None or current.busy is None:
        return False
    return other.score <= (1 - MARGIN) * current.score and (1 - MOST_RATE_LOST) * other.busy <= current.busy


def warm_up(run: Run, most_rows: int) -> list[float]:
    """Run every batch size in use, and give the seconds of batches of 0 … `most_rows` rows.

    Between measured sizes the time is interpolated; beyond what there was time for it is proportional.
    """
    points: list[tuple[int, float]] = []
    started = perf_counter()
    for rows in warmed_sizes(most_rows):
        if points and perf_counter() - started + 2 * points[-1][1] > WARM_UP_S:
            break
        first = _timed(run, rows)
        again = [_timed(run, rows) for _ in range(min(3, _repeats(0.05, first)))]
        points.append((rows, median(again or [first])))
    return _interpolated(points, most_rows)


def _interpolated(points: Sequence[tuple[int, float]], most_rows: int) -> list[float]:
    table = [points[0][1]] * 2
    for (low, fast), (high, slow) in pairwise(points):
        step = (slow - fast) / (high - low)
        table += [fast + step * (rows - low) for rows in range(low + 1, high + 1)]
    rows, seconds = points[-1]
    table += [seconds * more / rows for more in range(rows + 1, most_rows + 1)]
    return table


def _busy(run: Run, rows: int, lanes: int, repeats: int) -> float:
    """Seconds per batch while `lanes` threads run batches without a pause."""

    def lane(_: int) -> None:
        for _ in range(repeats):
            run(rows)

    with ThreadPoolExecutor(lanes, "tutti-measure") as threads:
        started = perf_counter()
        list(threads.map(lane, range(lanes)))
        return (perf_counter() - started) / (lanes * repeats)


def _timed(run: Run, rows: int) -> float:
    started = perf_counter()
    run(rows)
    return perf_counter() - started


def _timed_warm(run: Run, rows: int) -> float:
    run(rows)
    return _timed(run, rows)


def _repeats(share_s: float, once_s: float) -> int:
    return min(MOST_REPEATS, int(share_s / max(once_s, 1e-9)))
