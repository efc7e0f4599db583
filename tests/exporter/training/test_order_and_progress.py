"""Which task is next, and what people see of those that run."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from exporter.members.base import Training
from exporter.optimisation.run import EpochDone
from exporter.optimisation.spec import DataParallel
from exporter.training.engines.engine import Again, Began, Done, Epoch, Failed, Given, Task
from exporter.training.engines.queue import Queue, longest_first
from exporter.training.engines.worker import Seldom
from exporter.training.progress import Bars, Lines
from exporter.training.records import TrainingRecord, TrainingRecords
from tests.exporter.training.families import Scripted, given, task


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return given(tmp_path_factory.mktemp("work"))


def member(name: str, where: Given, epochs: int = 3, fold: int = -1, workers: int = 1) -> Task:
    technique = DataParallel(workers=workers) if workers > 1 else None
    return task(name, Scripted(note=name, training=Training(epochs=epochs)), where, fold, technique)


def test_before_anything_was_measured_epochs_and_rows_say_what_is_longest(where: Given) -> None:
    tasks = [member("short", where, 2), member("long", where, 9, fold=0), member("long", where, 9)]
    assert [one.label for one in longest_first(tasks, {})] == ["long", "long, fold 1", "short"]


def test_what_was_measured_of_a_member_counts_more_than_its_epochs(where: Given) -> None:
    slow, fast = member("slow", where, 1), member("fast", where, 50)
    queue = Queue([member("slow", where, 1, fold=0), member("fast", where, 50, fold=0)], {slow: 60.0, fast: 1.0})
    assert [one.label for one in queue.in_order()] == ["slow, fold 1", "fast, fold 1"]


def test_a_gang_waits_until_there_are_workers_for_all_of_it(where: Given) -> None:
    queue = Queue([member("gang", where, 9, workers=3), member("one", where, 1)])
    first = queue.take(2)
    assert first is not None
    assert first.label == "one"
    assert queue.take(2) is None
    assert queue.take(3) is not None
    assert not queue


def epoch(one: Task, number: int, network: int = 0) -> Epoch:
    return Epoch(one, "process 1", EpochDone(network, number, 9, 0.25))


def test_lines_of_a_training_grow_fewer_and_what_goes_wrong_is_told_at_once(
    where: Given, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines, one = Lines("digits"), member("cnn", where, fold=1)
    lines.watch(Began(one, "process 1"))
    for second in range(60):
        now[0] = float(second)
        lines.watch(epoch(one, 1 + second // 10, network=second // 30))
    lines.watch(Again(one, "member 'cnn' (fold 1): its process died"))
    lines.watch(Failed(one, "member 'cnn' (fold 1): the loss is nan"))
    lines.report("cnn, fold 2 failed", 1, 9)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "digits: cnn, fold 2: epoch 1/9, loss 0.25, process 1"
    assert sum("epoch" in line for line in told) == 4, "after 5, 12.5, 24 and 41 seconds"
    assert "network 2, loss" in told[3]
    assert told[-3:] == [
        "digits: member 'cnn' (fold 1): its process died; once more",
        "digits: failed: member 'cnn' (fold 1): the loss is nan",
        "digits: cnn, fold 2 failed (1/9)",
    ]


def test_each_running_task_has_a_bar_that_goes_when_it_is_done(where: Given) -> None:
    screen = io.StringIO()
    with Progress(console=Console(file=screen, force_terminal=True, width=120), auto_refresh=False) as shown:
        bars, one = Bars(shown, "digits"), member("cnn", where)
        bars.report("training", 0, 9)
        bars.watch(Began(one, "rank 1"))
        bars.watch(epoch(one, 4))
        running = shown.tasks[1]
        assert (running.completed, running.total, running.fields["title"]) == (4, 9, "  cnn")
        assert running.description == "loss 0.25, process 1"
        bars.watch(Done(one, (), "rank 1"))
        assert len(shown.tasks) == 1


def test_reports_are_seldom_and_one_that_cannot_be_sent_ends_no_training(tmp_path: Path) -> None:
    sent: list[EpochDone] = []

    def broken(done: EpochDone) -> None:
        sent.append(done)
        raise BrokenPipeError

    report = Seldom(broken, every_s=60)
    for number in range(5):
        report(EpochDone(0, number, 5, 0.1))
    assert len(sent) == 1


def test_the_report_says_how_well_workers_were_used() -> None:
    trainings = tuple(
        TrainingRecord(member=name, seconds=4.0, processor_seconds=3.0, worker="process 1", taken_over=name == "c")
        for name in "abc"
    )
    records = TrainingRecords(engine="local", technique="parallel", workers=2, seconds=4.5, trainings=trainings)
    assert records.line() == (
        "Training: parallel by --engine local, workers: 2; 2 trainings of 8.0 s together (6.0 s of processor time) "
        "in 4.5 s, 1 taken over."
    )
