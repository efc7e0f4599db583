"""What a swap did is told from a record in which every answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.load.outcome import Outcome
from loadtest.reporting.swap_report import regressions, report_swaps
from loadtest.swaps.swaps import Published
from tests.loadtest.samples import sample

MS = 1e-3


def steady(start: float, end: float, latency_ms: float, version: int, connection: int = 0) -> list[tuple[float, ...]]:
    """One request each 10 ms, scheduled in [start, end)."""
    return [(when, latency_ms * MS, version, connection) for when in np.arange(start, end - 1e-9, 0.01).tolist()]


def at(moment: float, version: int | None, newer_than: int = 1) -> Published:
    """A publish that took no time."""
    return Published(moment, moment, version, newer_than)


def test_a_swap_is_described_by_the_latency_around_it() -> None:
    # Published at 5 s; slower while loading; the first new answer at 6.004 s.
    rows = [
        *steady(0, 3, 50, 1),  # long before: not compared with
        *steady(3, 5, 2, 1),
        *steady(5, 6, 8, 1),
        *steady(6, 6.5, 4, 2),
        *steady(6.51, 9, 3, 2),
    ]
    (swap,), together = report_swaps(sample(*rows), [at(5.0, 2)])
    assert (swap.version, swap.published_s, swap.failures) == (2, 5.0, 0)
    assert swap.first_answer_s == pytest.approx(6.004)
    assert swap.publish_to_first_answer_ms == pytest.approx(1004)
    assert swap.before.p50_ms == pytest.approx(2)
    assert swap.before.count == 200
    assert swap.loading.p50_ms == pytest.approx(8)
    assert swap.swap_second.max_ms == pytest.approx(8)
    assert swap.swap_second.count == pytest.approx(99, abs=1)
    assert swap.after.p50_ms == pytest.approx(3)
    assert swap.p99_ratio == pytest.approx(4)
    assert together is not None
    assert together.before == swap.before
    assert together.p99_ratio == swap.p99_ratio


def test_answers_of_the_old_version_after_the_first_new_one_are_the_overlap() -> None:
    rows = [(0.9, 5 * MS, 1), (1.0, 30 * MS, 1), (1.005, 2 * MS, 2)]
    (swap,), _ = report_swaps(sample(*rows), [at(1.0, 2)])
    assert swap.overlap_ms == pytest.approx(23)


def test_failures_during_a_swap_are_its_own() -> None:
    failed = float(Outcome.CONNECTION)
    rows = [*steady(0, 4, 2, 1), *steady(4, 8, 2, 2)]
    rows += [(1.0, MS, 0, 0, failed), (3.95, MS, 0, 0, failed), (4.2, MS, 0, 0, failed), (7.0, MS, 0, 0, failed)]
    (swap,), together = report_swaps(sample(*rows), [at(3.9, 2)])
    assert swap.failures == 2
    assert together is not None
    assert together.failures == 2


def test_an_answer_may_come_before_the_publisher_returns() -> None:
    rows = [*steady(0, 2, 2, 1), *steady(2, 4, 2, 2)]
    (swap,), _ = report_swaps(sample(*rows), [Published(1.9, 2.052, 2, 1)])
    assert swap.publish_to_first_answer_ms == pytest.approx(-50)
    assert swap.before.count == 190


def test_close_swaps_are_not_compared_with_each_other() -> None:
    rows = [*steady(0, 2, 2, 1), *steady(2, 3, 9, 2), *steady(3, 4, 2, 3)]
    (first, second), together = report_swaps(sample(*rows), [at(1.99, 2), at(2.98, 3)])
    assert first.after.count <= 48  # ends where the next begins
    assert second.before.count <= 48  # begins where the first has ended
    assert together is not None
    assert together.before.count == first.before.count + second.before.count


def test_a_version_that_never_answers_has_no_moment() -> None:
    (swap,), together = report_swaps(sample(*steady(0, 4, 2, 1)), [at(2.0, 2)])
    assert (swap.first_answer_s, swap.publish_to_first_answer_ms, swap.p99_ratio, swap.overlap_ms) == (None,) * 4
    assert swap.before.count == 200
    assert swap.swap_second.count == 0
    assert together is not None
    assert together.publish_to_first_answer_max_ms is None


def test_a_version_nobody_named_is_the_first_that_is_newer() -> None:
    rows = [*steady(0, 2, 2, 4), *steady(2, 4, 2, 7)]
    (swap,), _ = report_swaps(sample(*rows), [at(1.9, None, newer_than=4)])
    assert swap.version == 7
    assert swap.first_answer_s == pytest.approx(2.002)


def test_without_swaps_there_is_nothing_to_say() -> None:
    assert report_swaps(sample(*steady(0, 1, 2, 1)), []) == ([], None)


def test_an_older_version_after_a_newer_one_is_found_on_its_connection() -> None:
    rows = [(0.1, MS, 1, 0), (0.2, MS, 2, 0), (0.3, MS, 1, 0), (0.4, MS, 2, 0), (0.5, MS, 1, 1), (0.6, MS, 2, 1)]
    (back,) = regressions(sample(*rows))
    assert (back.connection, back.newer, back.older) == (0, 2, 1)
    assert back.at_s == pytest.approx(0.301)


def test_different_versions_on_different_connections_are_no_regression() -> None:
    rows = [(0.1, MS, 2, 0), (0.2, MS, 1, 1), (0.3, MS, 2, 0), (0.4, MS, 2, 1)]
    assert regressions(sample(*rows)) == []


def test_a_failed_request_between_two_answers_hides_no_regression() -> None:
    rows = [(0.1, MS, 2, 0), (0.2, MS, 0, 0, float(Outcome.REFUSED)), (0.3, MS, 1, 0)]
    assert len(regressions(sample(*rows))) == 1
