"""How long rows wait, and how many may: seconds are the limit, whatever a row costs."""

from __future__ import annotations

import pytest

from model_repo import Batching
from server.serving.batching.queue_wait import FORGET_S, Pace


def pace(row_s: float, *, lanes: int = 1, batch: int = 64, **limits: float) -> Pace:
    return Pace(Batching(**limits), batch, lanes, lambda rows: rows * row_s)  # type: ignore[arg-type]


def backlog(made: Pace, row_s: float, *, batches: int = 100, rows: int = 64, start: float = 1.0) -> float:
    """So many batches end one after the other while others wait; gives the time of the last."""
    for k in range(batches + 1):
        made.computed(rows, rows * row_s, start + k * rows * row_s, 1000)
    return start + batches * rows * row_s


def test_rows_that_are_computed_within_the_longest_wait_have_room() -> None:
    assert pace(0.001).room == 5000
    assert pace(0.001, lanes=2).room == 10_000
    assert pace(0.001, max_queue_wait_s=0.5).room == 500


def test_a_batch_for_each_lane_may_wait_however_long_it_takes() -> None:
    assert pace(10.0, lanes=3).room == 3 * 64


def test_a_number_of_rows_bounds_what_takes_no_time() -> None:
    assert pace(1e-9).room == 65_536
    assert pace(0.0, max_queue_rows=100).room == 100


def test_the_pace_that_is_seen_counts_not_the_one_that_was_measured() -> None:
    """Reading requests takes longer than a tiny batch: rows leave slower than they are computed."""
    made = pace(1e-6)
    assert made.wait_s(1000) == pytest.approx(0.001, rel=0.1)
    backlog(made, 1e-4)
    assert made.wait_s(1000) == pytest.approx(0.1, rel=0.05)
    assert made.room == pytest.approx(50_000, rel=0.05)


def test_lanes_beside_each_other_are_seen_together() -> None:
    made = pace(0.001, lanes=2)
    for k in range(200):  # two batches of 64 rows end at nearly the same time, every 64 ms
        made.computed(64, 0.064, 1.0 + 0.064 * (k // 2) + 1e-4 * (k % 2), 1000)
    assert made.wait_s(1000) == pytest.approx(0.5, rel=0.15)


def test_time_without_a_queue_is_not_held_against_it() -> None:
    made = pace(0.001)
    for k in range(50):
        made.computed(1, 0.001, 10.0 * k, 0)
    assert made.wait_s(1000) == pytest.approx(1.0, rel=0.1)


def test_one_pause_of_the_process_does_not_close_the_queue() -> None:
    made = pace(1e-4)
    end = backlog(made, 1e-4)
    made.computed(64, 0.0064, end + 3.0, 1000)
    assert made.room > 20_000


def test_a_pace_of_long_ago_is_forgotten() -> None:
    made = pace(0.001)
    end = backlog(made, 0.1)
    made.computed(64, 0.064, end + 6.4, 0)
    assert made.room == 64
    for k in range(60):  # batches are as fast again as they were measured
        made.computed(64, 0.064, end + 10.0 + k, 0)
    made.computed(64, 0.064, end + 100.0 + FORGET_S, 1000)
    assert made.room == pytest.approx(5000, rel=0.5)
