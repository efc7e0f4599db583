"""Training curves in reports: from a training through the work folder to the report's files and lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.members.base import Training
from exporter.optimisation.run import StepsDone
from exporter.optimisation.spec import Target
from exporter.reporting.curves import curve_files
from exporter.training.engines.engine import Done, Epoch, Event
from exporter.training.engines.in_process import InProcess
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import FINAL, Job, Made, run_job
from exporter.training.progress import told
from exporter.training.records import TrainingRecord, TrainingRecords
from tests.exporter.training.families import Scripted, clouds, given, task

TRAINING = Training(epochs=3, batch_rows=16, report_every=2)


def made(training: Training, fold: int = FINAL) -> tuple[Job, Made]:
    """One linear layer on three clouds."""
    data, parts = clouds()
    job = Job("line", Scripted(training=training), fold, 1)
    return job, run_job(job, data, parts)


def test_a_report_has_every_point_of_every_training_and_a_picture_of_the_published(tmp_path: Path) -> None:
    results = dict([made(TRAINING), made(TRAINING, fold=1)])
    files = curve_files("clouds", results)
    header, *lines = files["training.csv"].decode().splitlines()
    assert header.startswith("member,fold,network,step,epoch,loss,accuracy,held_out_accuracy")
    final = [line for line in lines if line.startswith("line,,0,")]
    folds = [line for line in lines if line.startswith("line,1,0,")]
    assert [line.split(",")[3] for line in final][:3] == ["2", "3", "4"]
    assert len(final) + len(folds) == len(lines)
    assert files["training.png"].startswith(b"\x89PNG")


def test_without_networks_there_is_no_curve() -> None:
    job, result = made(TRAINING)
    assert curve_files("clouds", {job: Made(b"", "logits", result.held, result.outputs, result.parity, 1.0)}) == {}


def test_curves_are_taken_over_from_an_earlier_run(tmp_path: Path) -> None:
    _, result = made(TRAINING)
    work = WorkFolder(tmp_path)
    work.save("a" * 64, result)
    found = work.load("a" * 64)
    assert found is not None
    assert found.curves == result.curves != ()


@pytest.mark.parametrize(("bound", "ended"), [(0.5, "reached after"), (1.0, "not reached in 3 epochs")])
def test_a_report_says_how_a_training_ended_that_was_to_reach_a_figure(bound: float, ended: str) -> None:
    training = Training(
        epochs=3, batch_rows=16, learning_rate=0.1 if bound < 1 else 1e-6, stop_at=Target(accuracy=bound)
    )
    _, result = made(training)
    (curve,) = result.curves
    record = TrainingRecord(member="line", seconds=1.0, processor_seconds=1.0, worker="", ended=(curve.summary(),))
    records = TrainingRecords(engine="local", technique="parallel", workers=1, seconds=1.0, trainings=(record,))
    (line,) = records.endings()
    assert line.startswith(f"line: stop_at accuracy {bound:g} {ended}")


def test_progress_tells_the_figures_that_were_asked_for(tmp_path: Path) -> None:
    events: list[Event] = []
    where = given(tmp_path)
    spec = Scripted(training=Training(epochs=3, batch_rows=16, report_every=2, stop_at=Target(log_loss=1e-9)))
    outcomes = list(InProcess().run([task("line", spec, where)], where, events.append))
    assert isinstance(outcomes[0], Done)
    done = [event.done for event in events if isinstance(event, Epoch) and isinstance(event.done, StepsDone)]
    assert "step 2, loss" in told(done[0])
    assert "held-out log_loss" in told(done[0])
