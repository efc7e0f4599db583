"""The scenarios: each turns the command line's options into phases of load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from loadtest.errors import ScenarioError
from loadtest.load.arrivals import Phase, Process
from loadtest.load.payload import Protocol

Scenario = Literal["steady", "ramp", "overload", "swap", "soak"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

DEFAULT_RATE = {"steady": 100.0, "ramp": 1000.0, "swap": 100.0, "soak": 100.0}
DEFAULT_DURATION_S = {"steady": 10.0, "ramp": 40.0, "overload": 40.0, "swap": 30.0, "soak": 600.0}
OPEN_LOOP_CONNECTIONS = 256
"""Most connections of an open loop; they are opened as they are needed."""
OVERLOAD_CONNECTIONS = 2048
"""More than a server's queue has rows by default (1024): with fewer the generator would be the queue."""
CAPACITY_CONNECTIONS = 64
OVERLOAD_FACTOR = 5.0
RAMP_STEPS = 8
SOAK_PARTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a load test is told; `None` is the scenario's default. Durations in seconds, rates in requests/s."""

    url: str
    ensemble: str | None = None
    scenario: Scenario = "steady"
    rate: float | None = None
    connections: int | None = None
    duration_s: float | None = None
    warmup_s: float = 1.0
    rows: int = 1
    protocol: Protocol = "json"
    process: Process = "poisson"
    seed: int = 0
    timeout_s: float = 10.0
    repository: Path | None = None
    swap_command: str | None = None
    swaps: int | None = None
    patience_s: float = 60.0
    """How long a published version may take until it answers."""
    settle_s: float = 2.5
    """A swap run goes on this long after its last swap, so that there is an after to compare with."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be run. Without `phases` it is a closed loop of `connections` for `duration_s`."""

    options: Options
    phases: tuple[Phase, ...]
    connections: int
    duration_s: float
    swaps: int

    @property
    def open_loop(self) -> bool:
        return bool(self.phases) or self.measures_capacity

    @property
    def measures_capacity(self) -> bool:
        """Whether the overload's rate is found by a closed loop in the first quarter of the run."""
        return self.options.scenario == "overload" and self.options.rate is None


def plan(options: Options) -> Plan:
    """The plan for `options`; raises ScenarioError where they contradict each other."""
    _check(options)
    scenario = options.scenario
    duration = options.duration_s or DEFAULT_DURATION_S[scenario]
    swaps = (options.swaps or 5) if scenario == "swap" else 0
    closed = options.connections is not None and options.rate is None and scenario in ("steady", "swap", "soak")
    connections = options.connections or (OVERLOAD_CONNECTIONS if scenario == "overload" else OPEN_LOOP_CONNECTIONS)
    if closed or (scenario == "overload" and options.rate is None):
        return Plan(options, (), connections, duration, swaps)
    rate = options.rate or DEFAULT_RATE[scenario]
    return Plan(options, tuple(phases(scenario, rate, duration)), connections, duration, swaps)


def phases(scenario: Scenario, rate: float, duration_s: float) -> list[Phase]:
    """The scenario's phases. `rate` is the highest of a ramp, and the capacity that an overload exceeds."""
    if scenario == "ramp":
        step = duration_s / RAMP_STEPS
        rates = [rate * (number + 1) / RAMP_STEPS for number in range(RAMP_STEPS)]
        return [Phase(f"{step_rate:g}/s", step, step_rate) for step_rate in rates]
    if scenario == "soak":
        part = duration_s / SOAK_PARTS
        return [Phase(f"part {number + 1}", part, rate) for number in range(SOAK_PARTS)]
    if scenario == "overload":
        return [Phase("overload", duration_s, rate * OVERLOAD_FACTOR)]
    return [Phase(scenario, duration_s, rate)]


def _check(options: Options) -> None:
    if options.scenario not in SCENARIOS:
        raise ScenarioError(f"unknown scenario '{options.scenario}'; there are {', '.join(SCENARIOS)}")
    for name, value, most in (
        ("--rate", options.rate, 1e6),
        ("--connections", options.connections, 60_000),
        ("--duration", options.duration_s, 7 * 86_400),
        ("--timeout", options.timeout_s, 3600),
        ("--rows", options.rows, 1_000_000),
        ("--swaps", options.swaps, 10_000),
        ("--patience", options.patience_s, 86_400),
    ):
        if value is not None and not 0 < value <= most:
            raise ScenarioError(f"{name} is {value:g}; expected more than 0 and at most {most:g}")
    if not 0 <= options.warmup_s <= 3600:
        raise ScenarioError(f"--warmup is {options.warmup_s:g}; expected 0 to 3600 seconds")
    if options.seed < 0:
        raise ScenarioError(f"--seed is {options.seed}; expected 0 or more")
    if options.scenario == "ramp" and options.connections is not None and options.rate is None:
        raise ScenarioError("scenario ramp is an open loop: say --rate, the highest rate")
    _check_swap(options)


def _check_swap(options: Options) -> None:
    ways = [options.repository is not None, options.swap_command is not None]
    if options.scenario == "swap" and sum(ways) != 1:
        raise ScenarioError("scenario swap needs one of --repository DIR and --swap-command CMD")
    if options.scenario != "swap" and (any(ways) or options.swaps is not None):
        raise ScenarioError(
            f"--repository, --swap-command and --swaps belong to scenario swap, not to {options.scenario}"
        )
    if options.repository is not None and not options.repository.is_dir():
        raise ScenarioError(f"--repository {options.repository}: no such folder")
