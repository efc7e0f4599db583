"""The choice among plans, with clocks that are told what to say."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from server.runtime.options import Layout, RuntimeOptions
from server.runtime.plans import measuring
from server.runtime.plans.measuring import Timing, compare, compared_sizes, fastest, pays, warm_up, warmed_sizes

CURRENT = Timing({1: 1.0, 8: 8.0}, 4.0)


class Clock:
    """Time that passes only when a run says so; one per thread of the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs: list[tuple[str, int]] = []

    def __call__(self) -> float:
        return self.now

    def plan(self, name: str, seconds: Callable[[int], float]) -> Callable[[int], None]:
        def run(rows: int) -> None:
            self.runs.append((name, rows))
            self.now += seconds(rows)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(measuring, "perf_counter", clock)
    return clock


@pytest.mark.parametrize(
    ("most", "compared", "warmed"),
    [
        (1, (1,), (1,)),
        (6, (1, 6), (1, 2, 4, 6)),
        (8, (1, 8), (1, 2, 4, 8)),
        (64, (1, 8, 64), (1, 2, 4, 8, 16, 32, 64)),
    ],
)
def test_sizes_go_from_one_row_to_the_most(most: int, compared: tuple[int, ...], warmed: tuple[int, ...]) -> None:
    assert compared_sizes(most) == compared
    assert warmed_sizes(most) == warmed


def test_the_plan_that_is_faster_at_most_sizes_wins(clock: Clock) -> None:
    plans = {
        "sequential": clock.plan("s", lambda rows: 1e-3 + 1e-5 * rows),
        "merged": clock.plan("m", lambda rows: 5e-4 + 1e-5 * rows),
    }
    timings = compare(plans, (1, 8, 64), dict.fromkeys(plans, 1))
    assert fastest(timings) == "merged"
    assert timings["sequential"].idle[8] == pytest.approx(1e-3 + 8e-5)


def test_plans_take_turns_so_that_drift_is_fair(clock: Clock) -> None:
    plans = {name: clock.plan(name, lambda rows: 3e-3) for name in ("sequential", "merged")}
    compare(plans, (1,), dict.fromkeys(plans, 1))
    names = [name for name, _ in clock.runs]
    assert names == ["sequential", "merged"] * (len(names) // 2)


def test_short_runs_are_timed_behind_one_of_their_own(clock: Clock) -> None:
    """A plan that waits for threads leaves the caches cold to whichever plan's turn is next."""
    last: list[str] = []

    def seconds(name: str, rows: int) -> float:
        cold = bool(last) and last[-1] != name
        last.append(name)
        return 1e-3 if cold else 5e-4

    plans = {name: clock.plan(name, partial(seconds, name)) for name in ("sequential", "merged")}
    timings = compare(plans, (1,), dict.fromkeys(plans, 1))
    assert [timing.idle[1] for timing in timings.values()] == pytest.approx([5e-4, 5e-4])


def test_a_slow_ensemble_is_run_once_and_the_largest_batch_left_out(clock: Clock) -> None:
    plans = {name: clock.plan(name, lambda rows: 1.0 * rows) for name in ("sequential", "merged")}
    timings = compare(plans, (1, 8, 64), dict.fromkeys(plans, 2))
    assert list(timings["merged"].idle) == [1]
    assert clock.runs == [("sequential", 1), ("merged", 1), *clock.runs[2:]]
    assert {rows for _, rows in clock.runs} == {1}
    assert clock.now < 10


def test_comparing_small_plans_stays_within_its_budget(clock: Clock) -> None:
    plans = {name: clock.plan(name, lambda rows: 1e-4 * rows) for name in ("sequential", "parallel", "merged")}
    compare(plans, (1, 8, 64), dict.fromkeys(plans, 1))
    assert clock.now < 1.0


def test_throughput_counts_when_there_are_lanes() -> None:
    threads: set[int] = set()
    gate = threading.Barrier(2)

    def run(rows: int) -> None:
        if threading.current_thread().name.startswith("tutti-measure"):
            gate.wait()
            threads.add(threading.get_ident())

    timings = compare({"sequential": run}, (1,), {"sequential": 2})
    assert timings["sequential"].busy is not None
    assert len(threads) == 2


def test_load_can_outweigh_idle_time() -> None:
    idle = {1: 1.0, 8: 1.0}
    assert fastest({"parallel": Timing(idle, 9.0), "sequential": Timing({1: 1.5, 8: 1.5}, 2.0)}) == "sequential"


def test_the_first_of_equals_is_kept() -> None:
    assert fastest({"sequential": Timing({1: 1.0}), "merged": Timing({1: 1.0})}) == "sequential"


def test_the_time_of_any_batch_is_interpolated(clock: Clock) -> None:
    seconds = warm_up(clock.plan("s", lambda rows: 0.01 + 0.001 * rows), 6)
    assert seconds[1:] == pytest.approx([0.01 + 0.001 * rows for rows in range(1, 7)])
    assert {rows for _, rows in clock.runs} == {1, 2, 4, 6}


def test_warming_up_gives_up_on_what_takes_too_long_and_estimates_it(clock: Clock) -> None:
    seconds = warm_up(clock.plan("s", lambda rows: 5.0 * rows), 64)
    assert {rows for _, rows in clock.runs} == {1, 2}
    assert seconds[64] == pytest.approx(5.0 * 64)


@pytest.mark.parametrize(
    ("cores", "lanes", "expected"), [(2, 0, (2, 1)), (2, 1, (1, 2)), (8, 2, (2, 4)), (8, 3, (3, 2)), (1, 4, (1, 1))]
)
def test_lanes_times_threads_stay_within_the_cores(cores: int, lanes: int, expected: tuple[int, int]) -> None:
    layout = RuntimeOptions(cores=cores, lanes=lanes).layout()
    assert (layout.lanes, layout.threads) == expected


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (1, [(1, 1)]),
        (2, [(2, 1), (1, 2)]),
        (6, [(6, 1), (3, 2), (1, 6)]),
        (8, [(8, 1), (4, 2), (2, 4), (1, 8)]),
        (16, [(16, 1), (4, 4), (1, 16)]),
        (64, [(64, 1), (16, 4), (4, 16), (1, 64)]),
        (192, [(192, 1), (48, 4), (12, 16), (3, 64)]),
    ],
)
def test_layouts_are_few_and_start_with_a_lane_for_each_core(cores: int, expected: list[tuple[int, int]]) -> None:
    options = RuntimeOptions(cores=cores)
    assert [(layout.lanes, layout.threads) for layout in options.layouts()] == expected
    assert options.layouts()[0] == options.layout()


def test_no_layout_passes_the_thread_budget() -> None:
    for cores in range(1, 300):
        layouts = RuntimeOptions(cores=cores).layouts()
        assert len(layouts) <= 4
        assert all(layout.lanes * layout.threads <= cores for layout in layouts)
        assert [layout.threads for layout in layouts] == sorted({layout.threads for layout in layouts})


def test_a_layout_reads_as_lanes_and_as_threads_if_there_are_some() -> None:
    assert [str(Layout(*each)) for each in ((2, 1), (16, 4), (1, 2))] == [
        "2 lanes", "16 lanes × 4 threads", "1 lane × 2 threads",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Timing({1: 0.5, 8: 4.0}, 4.0), True),
        (Timing({1: 0.5, 8: 4.0}, 4.2), True),
        (Timing({1: 0.5, 8: 4.0}, 4.3), False),
        (Timing({1: 0.1, 8: 1.0}, 8.0), False),
        (Timing({1: 0.9, 8: 7.0}, 4.0), False),
        (Timing({1: 0.5, 8: 4.0}, None), False),
    ],
    ids=["half the time", "at 5% less rate", "at 7% less rate", "at half the rate", "under the margin", "no load"],
)
def test_more_threads_must_win_clearly_and_keep_the_rate(other: Timing, expected: bool) -> None:
    assert pays(other, CURRENT) is expected


def test_without_a_figure_under_load_nothing_changes() -> None:
    assert not pays(Timing({1: 0.1}, 0.1), Timing({1: 1.0}))


def test_layouts_are_compared_with_lanes_of_their_own(clock: Clock) -> None:
    running: Counter[str] = Counter()

    def run(name: str) -> Callable[[int], None]:
        def one(rows: int) -> None:
            if threading.current_thread().name.startswith("tutti-measure"):
                running[name] += rows

        return one

    runs = {"wide": run("wide"), "narrow": run("narrow")}
    timings = compare(runs, (1, 8), {"wide": 4, "narrow": 1})
    assert running["wide"] == 4 * running["narrow"] > 0
    assert running["narrow"] % 8 == 0
    assert timings["narrow"].busy is not None


def test_load_is_measured_with_the_largest_batch_there_is_time_for(clock: Clock) -> None:
    plans = {"sequential": clock.plan("s", lambda rows: 0.05 * rows)}
    timings = compare(plans, (1, 8, 64), {"sequential": 64})
    assert list(timings["sequential"].idle) == [1, 8, 64]
    assert clock.runs[-1] == ("s", 8)
