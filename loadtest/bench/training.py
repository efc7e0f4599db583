"""How much faster the trainings of a recipe are on several workers, by each engine; and on how many more they would be.

`tutti export` is a black box: it is run, and the report of each run says what every training took.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

from loadtest.bench.scheduling import Schedule, schedule
from loadtest.peers.errors import PeerError
from loadtest.peers.machine import Machine, this_machine

FORMAT = 1
SIMULATED = (1, 2, 4, 8, 16, 32, 64)


class Training(msgspec.Struct, frozen=True):
    """One training, as a report has it."""

    member: str
    seconds: float
    processor_seconds: float
    fold: int | None = None


class _Trainings(msgspec.Struct, frozen=True):
    seconds: float
    trainings: tuple[Training, ...]


class _Board(msgspec.Struct, frozen=True):
    training: _Trainings


class Speedup(msgspec.Struct, frozen=True, kw_only=True):
    """One engine: medians over the rounds of the seconds that all trainings took, the start of workers included."""

    engine: str
    one_s: float
    several_s: float
    ratio: float
    """The median of one ÷ several, round by round."""
    lowest: float
    highest: float
    processor_s: float
    """Of all trainings together, with several workers."""


class TrainingBench(msgspec.Struct, frozen=True, kw_only=True):
    """The same recipe by every engine with one worker and with several, round after round."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    recipe: str
    preset: str
    workers: int
    rounds: int
    tasks: int
    seeds: int
    """How many times the tasks are taken for the schedules."""
    speedups: tuple[Speedup, ...]
    schedules: tuple[Schedule, ...]
    """Of the tasks' processor seconds, medians of the runs with one worker."""


@dataclass(frozen=True)
class Plan:
    """What is run."""

    recipe: str
    preset: str
    engines: Sequence[str]
    workers: int
    rounds: int
    seeds: int
    """The schedules are of the recipe with so many seeds."""
    arguments: Sequence[str]
    """More for `tutti export`."""
    folder: Path
    tell: Callable[[str], None]


def measure(plan: Plan) -> TrainingBench:
    """Raises PeerError where an export fails, with what it said last."""
    machine = this_machine()
    runs: dict[tuple[str, int], list[_Trainings]] = {}
    for number in range(plan.rounds):
        for engine in plan.engines:
            for workers in (1, plan.workers) if number % 2 == 0 else (plan.workers, 1):
                found = _run(plan, engine, workers, number)
                runs.setdefault((engine, workers), []).append(found)
                plan.tell(f"round {number + 1}, {engine}, {workers}: {found.seconds:.1f} s")
    seconds = _task_seconds([run for (_, workers), found in runs.items() if workers == 1 for run in found])
    return TrainingBench(
        machine=machine,
        load_after=os.getloadavg()[0],
        recipe=plan.recipe,
        preset=plan.preset,
        workers=plan.workers,
        rounds=plan.rounds,
        tasks=len(seconds),
        seeds=plan.seeds,
        speedups=tuple(_speedup(engine, runs[engine, 1], runs[engine, plan.workers]) for engine in plan.engines),
        schedules=tuple(schedule(seconds * plan.seeds, workers) for workers in SIMULATED),
    )


def _run(plan: Plan, engine: str, workers: int, number: int) -> _Trainings:
    report = plan.folder / f"report-{number}-{engine}-{workers}"
    command = [
        sys.executable, "-m", "tutti", "export", plan.recipe, "--preset", plan.preset, "--json", "--engine", engine,
        "--workers", str(workers), "--repository", str(plan.folder / "models"), "--report", str(report),
        "--set", "acceptance.enforce=false", *plan.arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise PeerError(f"tutti export --engine {engine} --workers {workers} ended with {done.returncode}: {said}")
    return msgspec.json.decode((report / "leaderboard.json").read_bytes(), type=_Board).training


def _task_seconds(runs: Sequence[_Trainings]) -> list[float]:
    """Each task's processor seconds, the median over runs, in the recipe's order."""
    columns: dict[tuple[str, int | None], list[float]] = {}
    for run in runs:
        for one in run.trainings:
            columns.setdefault((one.member, one.fold), []).append(one.processor_seconds)
    return [median(column) for column in columns.values()]


def _speedup(engine: str, one: Sequence[_Trainings], several: Sequence[_Trainings]) -> Speedup:
    ratios = [first.seconds / second.seconds for first, second in zip(one, several, strict=True)]
    return Speedup(
        engine=engine,
        one_s=median(run.seconds for run in one),
        several_s=median(run.seconds for run in several),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        processor_s=median(sum(task.processor_seconds for task in run.trainings) for run in several),
    )
