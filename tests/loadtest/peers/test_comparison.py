"""Medians of rounds, and ratios within rounds."""

from __future__ import annotations

import pytest

from loadtest.peers.comparison import Bare, bare_medians, results
from tests.loadtest.peers.samples import measurement


def test_a_cell_is_the_median_of_its_rounds() -> None:
    (result,) = results([measurement("mosec", number, rps) for number, rps in ((1, 100), (2, 900), (3, 200))])
    assert (result.rps, result.lowest_rps, result.highest_rps, result.rounds) == (200, 100, 900, 3)


def test_a_ratio_is_taken_within_each_round_because_the_machine_drifts_between_them() -> None:
    # The machine is twice as fast in round 2. Medians over all rounds would give 2,000 / 750.
    measured = [
        measurement("tutti", 1, 1000, p99_us=2000), measurement("mosec", 1, 500, p99_us=4000),
        measurement("tutti", 2, 2000, p99_us=1000), measurement("mosec", 2, 1000, p99_us=2000),
        measurement("tutti", 3, 3000, p99_us=1000),
    ]  # fmt: skip
    found = {result.peer: result for result in results(measured)}
    assert found["mosec"].tutti_ratio == pytest.approx(2.0)
    assert found["mosec"].tutti_p99_ratio == pytest.approx(0.5)
    assert found["tutti"].tutti_ratio == 1.0


def test_without_tutti_there_is_no_ratio() -> None:
    (result,) = results([measurement("mosec", 1, 500)])
    assert result.tutti_ratio is None


def test_a_server_that_answered_nothing_has_no_ratio_instead_of_an_infinite_one() -> None:
    found = {one.peer: one for one in results([measurement("tutti", 1, 100), measurement("ray", 1, 0, errors=5)])}
    assert found["ray"].tutti_ratio is None
    assert found["ray"].errors == 5


def test_errors_of_all_rounds_are_added() -> None:
    (result,) = results([measurement("mosec", number, 10, errors=number) for number in (1, 2, 3)])
    assert result.errors == 6


def test_the_servers_processor_time_is_told_per_good_answer() -> None:
    found = {one.peer: one for one in results([measurement("mosec", 1, 250, errors=3), measurement("ray", 1, 0)])}
    assert found["mosec"].cpu_us == pytest.approx(0.5 / 250 * 1e6)
    assert found["ray"].cpu_us is None


def test_connections_are_not_mixed() -> None:
    found = results([measurement("mosec", 1, 10, connections=1), measurement("mosec", 1, 20, connections=8)])
    assert [(one.connections, one.rps) for one in found] == [(1, 10), (8, 20)]


def test_the_bare_runtimes_rounds_are_joined_setting_by_setting() -> None:
    rounds = [
        Bare(ensemble="tiny", plan="merged", rows=1, lanes=1, rows_per_s=rate, p50_ms=ms)
        for rate, ms in ((100.0, 3.0), (300.0, 1.0), (200.0, 2.0))
    ]
    other = Bare(ensemble="tiny", plan="merged", rows=8, lanes=1, rows_per_s=5.0)
    assert bare_medians([*rounds, other]) == [
        Bare(ensemble="tiny", plan="merged", rows=1, lanes=1, rows_per_s=200.0, p50_ms=2.0),
        other,
    ]
