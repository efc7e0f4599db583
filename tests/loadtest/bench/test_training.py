"""Schedules of tasks on workers that there are not, and what is read from exports' reports."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench import training
from loadtest.bench.scheduling import makespan, schedule
from loadtest.bench.text import training_text
from loadtest.peers.errors import PeerError


def test_one_worker_takes_the_sum_and_enough_workers_the_longest() -> None:
    tasks = [3.0, 1.0, 2.0]
    assert makespan(tasks, 1) == 6.0
    assert makespan(tasks, 3) == makespan(tasks, 64) == 3.0


def test_a_long_task_at_the_end_is_alone_unless_the_longest_is_first() -> None:
    found = schedule([1.0, 1.0, 1.0, 1.0, 4.0], 2)
    assert found.recipe_order_s == 6.0
    assert found.longest_first_s == found.bound_s == 4.0


def test_longest_first_is_within_a_third_of_the_bound_and_the_bound_is_below_every_order() -> None:
    tasks = [float(17 * number % 13 + 1) for number in range(40)]
    for workers in (1, 2, 5, 16, 64):
        found = schedule(tasks, workers)
        assert found.bound_s <= found.longest_first_s <= found.bound_s * 4 / 3
        assert found.bound_s <= found.recipe_order_s


def plan(folder: Path, engines: tuple[str, ...] = ("local", "ray")) -> training.Plan:
    return training.Plan("digits", "fast", engines, 2, 3, 2, (), folder, lambda line: None)


def test_ratios_are_of_rounds_and_schedules_of_processor_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        workers = int(command[command.index("--workers") + 1])
        report = Path(command[command.index("--report") + 1])
        report.mkdir(parents=True)
        tasks = [{"member": "a", "seconds": 9.0, "processor_seconds": 6.0, "worker": "w"},
                 {"member": "a", "fold": 0, "seconds": 3.0, "processor_seconds": 2.0, "worker": "w"}]  # fmt: skip
        board = {"ensemble": "x", "training": {"engine": "e", "seconds": 12.0 / workers, "trainings": tasks}}
        (report / "leaderboard.json").write_text(json.dumps(board))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    found = training.measure(plan(tmp_path))
    ratios = [(one.engine, one.ratio, one.processor_s) for one in found.speedups]
    assert ratios == [("local", 2.0, 8.0), ("ray", 2.0, 8.0)]
    assert [each.longest_first_s for each in found.schedules[:3]] == [16.0, 8.0, 6.0]
    assert "| local | 12.0 | 6.00 | 2.00 (2.00 to 2.00) | 8.00 |" in training_text(found)


def test_an_export_that_fails_is_said_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 2, "", "training\ntutti export: no such thing")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: failed)
    with pytest.raises(PeerError, match=r"--engine local --workers 1 ended with 2: tutti export: no such thing$"):
        training.measure(plan(tmp_path))
