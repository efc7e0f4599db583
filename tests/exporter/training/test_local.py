"""The pool of this machine: members that fail or die stop no other, and nothing is left running."""

from __future__ import annotations

import errno
import multiprocessing.spawn
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import ExportError
from exporter.optimisation.spec import DataParallel
from exporter.recipe.options import Options
from exporter.training.choice import engine_of
from exporter.training.engines.engine import Again, Began, Done, Epoch, Event, Failed, Given, Task
from exporter.training.engines.local import Local
from tests.exporter.training.families import Scripted, given, task
from tests.exporter.training.processes import children, descendants, ended

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def where(tmp_path: Path) -> Iterator[Given]:
    """What is trained on; afterwards no child of this process is left that was not there before."""
    before = children()
    yield given(tmp_path / "work")
    assert children() <= before


def outcomes(engine: Local, tasks: list[Task], where: Given) -> tuple[dict[str, Done | Failed], list[Event]]:
    """What becomes of each task by its label, and what was told on the way."""
    told: list[Event] = []
    return {outcome.task.label: outcome for outcome in engine.run(tasks, where, told.append)}, told


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Done | Failed], list[Event], Path]:
    """One pool with a member of each kind."""
    folder = tmp_path_factory.mktemp("mixed")
    where = given(folder / "work")
    tasks = [
        task("good", Scripted(), where),
        task("good", Scripted(), where, fold=0),
        task("bad", Scripted(does="fail"), where, fold=1),
        task("broken", Scripted(does="break"), where),
        task("doomed", Scripted(does="die", note=str(folder / "doomed")), where),
        task("unlucky", Scripted(does="die once", note=str(folder / "unlucky")), where),
        task("greedy", Scripted(does="run out of memory", note=str(folder / "greedy")), where),
    ]
    before = children()
    found = outcomes(Local(2), tasks, where)
    assert children() <= before
    return *found, folder


def test_a_member_that_fails_stops_no_other_and_is_not_tried_again(
    mixed: tuple[dict[str, Done | Failed], list[Event], Path],
) -> None:
    found, told, _ = mixed
    assert {label for label, outcome in found.items() if isinstance(outcome, Done)} == {
        "good", "good, fold 1", "unlucky",
    }  # fmt: skip
    bad, broken = found["bad, fold 2"], found["broken"]
    assert isinstance(bad, Failed)
    assert bad.reason == "member 'bad' (fold 1): the loss is nan after epoch 1 of 3"
    assert isinstance(broken, Failed)
    assert broken.reason == "member 'broken': LookupError: no such thing"
    assert "Traceback" in broken.trace
    assert not [event for event in told if isinstance(event, Again) and event.task.label in ("bad, fold 2", "broken")]


def test_a_task_whose_process_dies_is_tried_thrice_and_then_said_to_have_died(
    mixed: tuple[dict[str, Done | Failed], list[Event], Path],
) -> None:
    found, told, folder = mixed
    doomed, greedy = found["doomed"], found["greedy"]
    assert isinstance(doomed, Failed)
    assert doomed.reason == ("member 'doomed': its process was killed by signal 9 (SIGKILL; out of memory?), 3 times")
    assert len(set((folder / "doomed").read_text().split())) == 3, "each time another process"
    assert len(set((folder / "unlucky").read_text().split())) == 2
    assert isinstance(greedy, Failed)
    assert greedy.reason == "member 'greedy': out of memory: what it asked for, 3 times"
    assert sum(isinstance(event, Again) for event in told) == 2 + 1 + 2


def test_each_task_says_who_trains_it_and_how_far_it_is(
    mixed: tuple[dict[str, Done | Failed], list[Event], Path],
) -> None:
    _, told, _ = mixed
    assert {event.worker for event in told if isinstance(event, Began)} <= {"process 1", "process 2"}
    epochs = [event for event in told if isinstance(event, Epoch) and event.task.label == "good"]
    assert epochs
    assert all(1 <= event.done.epoch <= event.done.epochs == 3 for event in epochs)


def test_one_worker_is_this_process_and_comes_to_the_same_bits(
    where: Given, mixed: tuple[dict[str, Done | Failed], list[Event], Path]
) -> None:
    tasks = [task("good", Scripted(), where), task("good", Scripted(), where, fold=0),
             task("bad", Scripted(does="fail"), where)]  # fmt: skip
    found, _ = outcomes(Local(1), tasks, where)
    for label in ("good", "good, fold 1"):
        alone, pooled = found[label], mixed[0][label]
        assert isinstance(alone, Done)
        assert isinstance(pooled, Done)
        assert alone.made[0].onnx == pooled.made[0].onnx
    assert isinstance(found["bad"], Failed)


@pytest.mark.slow
def test_two_processes_train_one_member_and_one_that_dies_takes_its_gang_along(where: Given, tmp_path: Path) -> None:
    both = DataParallel(workers=2)
    tasks = [
        task("together", Scripted(training=Scripted().training), where, technique=both),
        task("unlucky", Scripted(does="die once", note=str(tmp_path / "note")), where, technique=both),
        task("bad", Scripted(does="fail"), where, technique=both),
    ]
    found, told = outcomes(Local(1), tasks, where)
    assert isinstance(found["together"], Done)
    assert found["together"].worker == "process 1 2"
    assert isinstance(found["unlucky"], Done)
    assert any(isinstance(event, Again) and "signal 9" in event.reason for event in told)
    assert isinstance(found["bad"], Failed)
    alone = next(iter(Local(1).run([task("alone", Scripted(), where)], where, told.append)))
    assert isinstance(alone, Done)
    assert np.allclose(found["together"].made[0].outputs, alone.made[0].outputs, atol=1e-4)


def test_closing_an_engine_ends_its_processes(where: Given) -> None:
    tasks = [task(f"m{number}", Scripted(does="wait"), where) for number in range(3)]
    running = Local(2).run([task("good", Scripted(), where), *tasks], where, lambda event: None)
    next(running)
    assert len(children()) >= 2
    running.close()


def test_a_process_that_dies_before_it_could_train_ends_the_export(
    where: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = [sys.executable, "-S", "-c", "raise SystemExit(1)"]
    monkeypatch.setattr(multiprocessing.spawn, "get_command_line", lambda **_: dies)
    tasks = [task("m", Scripted(), where, fold) for fold in (-1, 0, 1)]
    with pytest.raises(ExportError, match="died before it could train: it ended with status 1"):
        list(Local(2).run(tasks, where, lambda event: None))


def test_a_full_disk_is_one_line_before_anything_trains(
    where: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    monkeypatch.setattr(pickle, "dump", _full)
    tasks = [task("m", Scripted(), where, fold) for fold in (0, 1)]
    with pytest.raises(ExportError, match=r"handed to training processes by .*: No space left on device"):
        list(Local(2).run(tasks, where, lambda event: None))
    assert not list((tmp_path / "full").iterdir())


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_gpu_that_is_not_there_is_said_before_anything_starts() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ExportError, match=r"--device cuda: torch .* sees no GPU"):
        engine_of(Options(Path("models"), device="cuda"), DataParallel())


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_export_that_is_ended_leaves_no_worker_no_rows_and_says_one_line(tmp_path: Path, how: int) -> None:
    recipe, rows = tmp_path / "ended.toml", tmp_path / "rows"
    rows.mkdir()
    long = 'family = "pca"\ntraining = {epochs = 100000}\n'
    recipe.write_text(
        'name = "ended"\ntask = "classification"\n[data]\nsource = "digits"\n[split]\nfolds = 0\n'
        f"[members.first]\n{long}[members.second]\n{long}"
    )
    words = [str(recipe), "--workers", "2", "--repository", str(tmp_path / "models"), "--work", str(tmp_path / "work")]
    with subprocess.Popen(
        [sys.executable, "-m", "tutti", "export", *words], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(rows)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any(re.search(r"epoch \d+/100000, loss .*, process \d", line) for line in process.stderr)
        workers = set(descendants(process.pid))
        os.kill(process.pid, how)
        assert process.wait() == (-how if how == signal.SIGKILL else 128 + how)
        said = [line for line in process.stderr.read().splitlines() if "epoch" not in line]
    assert len(workers) == 2
    assert ended(workers, 20)
    assert not list(rows.glob("tutti-*"))
    assert not (tmp_path / "models").exists()
    if how != signal.SIGKILL:
        assert len(said) == 1
        assert said[0].startswith("tutti export: ")
