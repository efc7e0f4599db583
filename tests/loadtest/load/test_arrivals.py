"""Due times: as many as the rate says, ascending, inside their phase."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from loadtest.load.arrivals import Phase, Process, arrivals, extended, spans


def due(phases: list[Phase], process: Process = "poisson", seed: int = 0) -> list[float]:
    return list(arrivals(phases, process, np.random.default_rng(seed)))


def test_constant_arrivals_have_equal_gaps() -> None:
    times = due([Phase("steady", 2.0, 50.0)], "constant")
    assert len(times) == 99
    assert np.diff(times) == pytest.approx(np.full(98, 0.02))


def test_poisson_arrivals_have_the_rate_and_exponential_gaps() -> None:
    times = due([Phase("steady", 100.0, 200.0)])
    gaps = np.diff(times)
    assert len(times) == pytest.approx(20_000, rel=0.03)  # three standard deviations are 2%
    assert gaps.mean() == pytest.approx(0.005, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


@pytest.mark.parametrize("process", ["poisson", "constant"])
def test_phases_follow_each_other_at_their_own_rates(process: Process) -> None:
    phases = [Phase("slow", 10.0, 100.0), Phase("fast", 5.0, 1000.0), Phase("slow again", 10.0, 100.0)]
    times = np.array(due(phases, process))
    assert (np.diff(times) > 0).all()
    for phase, start, end in spans(phases):
        count = ((times >= start) & (times < end)).sum()
        assert count == pytest.approx(phase.rate * phase.seconds, rel=0.15)
    assert times.max() < 25.0


def test_the_same_seed_gives_the_same_times() -> None:
    phases = [Phase("steady", 1.0, 100.0)]
    assert due(phases, seed=3) == due(phases, seed=3)
    assert due(phases, seed=3) != due(phases, seed=4)


def test_an_extension_goes_on_until_it_is_told() -> None:
    asked = itertools.count(1)
    rng = np.random.default_rng(0)
    times = list(extended(iter([0.1]), lambda: next(asked) > 10, 10.0, "constant", rng, end_s=1.0, at_most_s=60.0))
    assert times[0] == 0.1
    assert times[1:] == pytest.approx([1.0 + 0.1 * number for number in range(1, 11)])


def test_an_extension_ends_at_its_limit_even_when_never_told() -> None:
    rng = np.random.default_rng(0)
    times = list(extended(iter(()), lambda: False, 10.0, "constant", rng, end_s=1.0, at_most_s=2.05))
    assert len(times) == 10
    assert max(times) < 2.05
