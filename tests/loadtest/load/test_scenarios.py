"""Options become a plan, or one line that says what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest import Options, ScenarioError, plan

STEADY = Options(url="http://127.0.0.1:8000")


def test_without_a_word_it_is_a_hundred_requests_a_second_for_ten_seconds() -> None:
    chosen = plan(STEADY)
    assert chosen.open_loop
    assert [(phase.rate, phase.seconds) for phase in chosen.phases] == [(100.0, 10.0)]


def test_connections_alone_make_a_closed_loop() -> None:
    chosen = plan(replace(STEADY, connections=8))
    assert not chosen.open_loop
    assert (chosen.connections, chosen.duration_s) == (8, 10.0)


def test_a_rate_with_connections_is_an_open_loop_with_a_limit() -> None:
    chosen = plan(replace(STEADY, connections=8, rate=50.0))
    assert chosen.open_loop
    assert chosen.connections == 8


def test_a_ramp_rises_in_equal_steps_to_the_rate() -> None:
    chosen = plan(replace(STEADY, scenario="ramp", rate=800.0, duration_s=16.0))
    assert [phase.rate for phase in chosen.phases] == [100, 200, 300, 400, 500, 600, 700, 800]
    assert {phase.seconds for phase in chosen.phases} == {2.0}


def test_an_overload_is_five_times_the_rate_that_is_given_as_capacity() -> None:
    chosen = plan(replace(STEADY, scenario="overload", rate=100.0))
    assert [phase.rate for phase in chosen.phases] == [500.0]
    assert not chosen.measures_capacity


def test_an_overload_without_a_rate_measures_the_capacity_first() -> None:
    assert plan(replace(STEADY, scenario="overload")).measures_capacity


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scenario": "chaos"}, "unknown scenario 'chaos'; there are steady, ramp, overload, swap, soak"),
        ({"rate": 0.0}, "--rate is 0; expected more than 0"),
        ({"rate": float("nan")}, "--rate is nan"),
        ({"connections": -1}, "--connections is -1"),
        ({"duration_s": 0.0}, "--duration is 0"),
        ({"duration_s": float("inf")}, "--duration is inf"),
        ({"rows": 0}, "--rows is 0"),
        ({"timeout_s": 0.0}, "--timeout is 0"),
        ({"warmup_s": -1.0}, "--warmup is -1"),
        ({"scenario": "ramp", "connections": 4}, "ramp is an open loop"),
        ({"scenario": "swap"}, "needs one of --repository DIR and --swap-command CMD"),
        ({"scenario": "swap", "repository": Path(), "swap_command": "true"}, "needs one of"),
        ({"scenario": "swap", "repository": Path("no-such-folder")}, "no-such-folder: no such folder"),
        ({"scenario": "swap", "swap_command": "true", "swaps": 0}, "--swaps is 0"),
        ({"swaps": 3}, "belong to scenario swap, not to steady"),
        ({"swap_command": "true"}, "belong to scenario swap"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan(replace(STEADY, **options))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
