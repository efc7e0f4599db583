"""What each swap did to the requests around it, told from the record alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from loadtest.load.record import Sample
from loadtest.reporting.latency import Latency, latency_of
from loadtest.swaps.swaps import Published

AROUND_S = 2.0
"""Seconds before the publish and after the swap second that a swap is compared with, less where swaps are close."""
HALF_S = 0.5


class SwapReport(msgspec.Struct, frozen=True, kw_only=True):
    """One swap. Its moment is the first answer by the new version; None where that never came.

    `before`: up to 2 s before the publish began. `loading`: from then to the first answer. `swap_second`: half
    a second to each side of the first answer. `after`: up to 2 s after that second. Requests belong to the
    window in which they were scheduled; only answered ones have a latency here.
    """

    version: int | None
    publish_began_s: float
    published_s: float
    """When the publish returned."""
    first_answer_s: float | None
    publish_to_first_answer_ms: float | None
    """From when the publish returned; below 0 where the server saw the version sooner than that."""
    before: Latency
    loading: Latency
    swap_second: Latency
    after: Latency
    p99_ratio: float | None
    """p99 in the swap second ÷ p99 before."""
    failures: int
    """Requests scheduled from the publish's begin to the end of the swap second that were not answered."""
    overlap_ms: float | None
    """From the first answer of the new version to the last of an older one: the drain, as clients see it."""


class SwapsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All swaps taken together: the windows' requests pooled, so that p99 rests on more than one second."""

    swaps: int
    before: Latency
    loading: Latency
    swap_second: Latency
    after: Latency
    p99_ratio: float | None
    failures: int
    publish_to_first_answer_median_ms: float | None
    publish_to_first_answer_max_ms: float | None


class Regression(msgspec.Struct, frozen=True):
    """A connection that got an older version's answer after a newer one's."""

    connection: int
    at_s: float
    newer: int
    older: int


@dataclass(frozen=True, slots=True)
class _Swap:
    """One swap's moments and windows; a window is `(start, end)` in seconds of the run, empty where equal."""

    version: int | None
    published: Published
    first_answer: float | None
    windows: tuple[tuple[float, float], ...]
    """before, loading, swap second, after."""


def report_swaps(sample: Sample, published: Sequence[Published]) -> tuple[list[SwapReport], SwapsReport | None]:
    """Each swap, and all of them together (None without any)."""
    swaps = _swaps(sample, published)
    reports = [_report(sample, swap) for swap in swaps]
    return reports, _together(sample, swaps, reports) if swaps else None


def regressions(sample: Sample) -> list[Regression]:
    """Answers older than the one before them on the same connection, in order of time."""
    versioned = sample.where((sample.version > 0) & (sample.connection >= 0))
    order = np.lexsort((versioned.done, versioned.connection))
    ordered = versioned.where(order)
    same = np.diff(ordered.connection) == 0
    found = np.flatnonzero(same & (np.diff(ordered.version) < 0)) + 1
    back = [
        Regression(
            int(ordered.connection[at]), float(ordered.done[at]), int(ordered.version[at - 1]), int(ordered.version[at])
        )
        for at in found
    ]
    return sorted(back, key=lambda one: one.at_s)


def _swaps(sample: Sample, published: Sequence[Published]) -> list[_Swap]:
    versioned = sample.where(sample.version > 0)
    firsts = [_first_answer(versioned, one) for one in published]
    swaps = []
    free = -np.inf  # where the swap before has ended
    for number, (one, first) in enumerate(zip(published, firsts, strict=True)):
        following = published[number + 1].began if number + 1 < len(published) else np.inf
        before = (max(free, one.began - AROUND_S), one.began)
        if first is None:
            windows = (before, *[(one.began, one.began)] * 3)
        else:
            free = first + HALF_S
            windows = (before, (one.began, first), (first - HALF_S, free), (free, min(free + AROUND_S, following)))
        version = one.version if one.version or first is None else _version_at(versioned, first)
        swaps.append(_Swap(version, one, first, windows))
    return swaps


def _first_answer(versioned: Sample, one: Published) -> float | None:
    if one.version is not None:
        answers = versioned.done[versioned.version == one.version]
    else:  # nobody said which version: the first that is newer than all answered until then
        answers = versioned.done[versioned.version > one.newer_than]
    return float(answers.min()) if len(answers) else None


def _version_at(versioned: Sample, first: float) -> int:
    return int(versioned.version[versioned.done == first].max())


def _report(sample: Sample, swap: _Swap) -> SwapReport:
    before, loading, second, after = (_answered_in(sample, [window]) for window in swap.windows)
    until = swap.windows[2][1] if swap.first_answer is not None else np.inf
    during = sample.between(swap.published.began, until)
    return SwapReport(
        version=swap.version,
        publish_began_s=swap.published.began,
        published_s=swap.published.returned,
        first_answer_s=swap.first_answer,
        publish_to_first_answer_ms=None
        if swap.first_answer is None
        else (swap.first_answer - swap.published.returned) * 1e3,
        before=before,
        loading=loading,
        swap_second=second,
        after=after,
        p99_ratio=_ratio(second, before),
        failures=int((~during.answered).sum()),
        overlap_ms=_overlap_ms(sample, swap),
    )


def _together(sample: Sample, swaps: Sequence[_Swap], reports: Sequence[SwapReport]) -> SwapsReport:
    before, loading, second, after = (
        _answered_in(sample, [swap.windows[number] for swap in swaps]) for number in range(4)
    )
    took = [one.publish_to_first_answer_ms for one in reports if one.publish_to_first_answer_ms is not None]
    return SwapsReport(
        swaps=len(swaps),
        before=before,
        loading=loading,
        swap_second=second,
        after=after,
        p99_ratio=_ratio(second, before),
        failures=sum(one.failures for one in reports),
        publish_to_first_answer_median_ms=float(np.median(took)) if took else None,
        publish_to_first_answer_max_ms=max(took, default=None),
    )


def _answered_in(sample: Sample, windows: Sequence[tuple[float, float]]) -> Latency:
    inside = np.zeros(len(sample), dtype=np.bool_)
    for start, end in windows:
        inside |= (sample.scheduled >= start) & (sample.scheduled < end)
    return latency_of(sample.where(inside & sample.answered))


def _overlap_ms(sample: Sample, swap: _Swap) -> float | None:
    if swap.first_answer is None or swap.version is None:
        return None
    older = sample.done[(sample.version > 0) & (sample.version < swap.version)]
    return max(0.0, float(older.max(initial=swap.first_answer)) - swap.first_answer) * 1e3


def _ratio(during: Latency, before: Latency) -> float | None:
    return during.p99_ms / before.p99_ms if during.p99_ms and before.p99_ms else None
