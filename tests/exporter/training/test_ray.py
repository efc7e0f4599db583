"""The engine of Ray: the same bits as the others, who dies is replaced, and no cluster is left running."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.errors import ExportError
from exporter.images.families import Pca
from exporter.members.base import Training
from exporter.optimisation.spec import Dataflow, DataParallel, ParameterServer
from exporter.recipe.options import Options
from exporter.recipe.sources import Digits, SplitSpec, clean, split
from exporter.training.choice import engine_of
from exporter.training.cluster.engine import RayEngine
from exporter.training.engines.engine import Again, Done, Engine, Epoch, Event, Failed, Given, Outcome, Task
from exporter.training.engines.local import Local
from exporter.training.engines.torchrun import Torchrun
from tests.exporter.training.families import Scripted, given, task
from tests.exporter.training.processes import children, descendants, ended

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

Found = tuple[dict[str, Outcome], list[Event], Path]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayEngine]:
    """Two workers; nothing is left of it afterwards."""
    before = children()
    engine = RayEngine(2, None)
    yield engine
    mine = set(descendants(os.getpid())) - before
    engine.close()
    assert children() <= before
    assert ended(mine, 20)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, cluster: RayEngine) -> Found:
    """A member of each kind, alone and together."""
    folder = tmp_path_factory.mktemp("cluster")
    where, both, told = given(folder / "work"), DataParallel(workers=2), list[Event]()
    tasks = [
        task("good", Scripted(), where),
        task("bad", Scripted(does="fail"), where, fold=1),
        task("unlucky", Scripted(does="die once", note=str(folder / "unlucky")), where),
        task("together", Scripted(does="die once", note=str(folder / "together")), where, technique=both),
        task("served", Scripted(), where, technique=ParameterServer(workers=2)),
        task("flowing", Scripted(), where, technique=Dataflow(workers=1)),
    ]
    return {outcome.task.label: outcome for outcome in cluster.run(tasks, where, told.append)}, told, folder


def test_a_worker_that_dies_is_replaced_alone_or_with_its_gang(found: Found) -> None:
    outcomes, told, folder = found
    assert {label for label, outcome in outcomes.items() if isinstance(outcome, Done)} == {
        "good", "unlucky", "together", "served", "flowing",
    }  # fmt: skip
    assert len((folder / "unlucky").read_text().split()) == 2
    again = {event.task.label for event in told if isinstance(event, Again)}
    assert again == {"unlucky", "together"}
    assert any(isinstance(event, Epoch) and event.worker.startswith("worker ") for event in told)


def test_a_member_that_fails_on_the_cluster_is_named_and_not_tried_again(found: Found) -> None:
    bad = found[0]["bad, fold 2"]
    assert isinstance(bad, Failed)
    assert bad.reason == "member 'bad' (fold 1): the loss is nan after epoch 1 of 3"


def test_all_engines_come_to_the_same_bits(cluster: RayEngine, tmp_path: Path) -> None:
    data = clean(Digits().load(None), "error")[0]
    where = Given(data, split(data.rows, SplitSpec(test=0.7, folds=2), 0, data.classes), tmp_path / "work")
    network = Pca(components=4, hidden=8, training=Training(epochs=2))
    tasks = [task("pca", network, where), task("pca", network, where, fold=0)]
    by_engine = [bits(engine, tasks, where) for engine in (Local(2), Torchrun(2), cluster)]
    assert len(by_engine[0]) == 2
    assert by_engine[1] == by_engine[0]
    assert by_engine[2] == by_engine[0]


def bits(engine: Engine, tasks: list[Task], where: Given) -> dict[str, tuple[bytes, bytes]]:
    """Each member's graph and answers."""
    outcomes = [outcome for outcome in engine.run(tasks, where, lambda event: None) if isinstance(outcome, Done)]
    return {outcome.task.label: (outcome.made[0].onnx, outcome.made[0].outputs.tobytes()) for outcome in outcomes}


def test_a_gang_that_is_larger_than_the_cluster_is_refused(cluster: RayEngine, tmp_path: Path, found: Found) -> None:
    where = given(tmp_path / "work")
    large = task("large", Scripted(), where, technique=DataParallel(workers=9))
    with pytest.raises(ExportError, match=r"workers is 9, the Ray cluster has 2 processors for member 'large'"):
        list(cluster.run([large], where, lambda event: None))


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    where = given(tmp_path / "work")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    engine = engine_of(Options(tmp_path, engine="ray", address=f"127.0.0.1:{port}"), DataParallel())
    with pytest.raises(ExportError, match=rf"^--address 127.0.0.1:{port}: no Ray cluster is reached: .*refused"):
        list(engine.run([task("m", Scripted(), where)], where, lambda event: None))


def test_without_ray_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"--engine ray needs the package 'ray': pip install '.*\[distributed\]'"):
        RayEngine(2, None)


RECIPE = """
name = "long"
task = "classification"
[data]
source = "digits"
[split]
test = 0.6
folds = 0
[members.only]
family = "pca"
training = {epochs = 1000000}
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_export_that_is_ended_leaves_no_cluster_running_and_nothing_published(tmp_path: Path, how: int) -> None:
    (tmp_path / "long.toml").write_text(RECIPE)
    command = [sys.executable, "-m", "tutti", "export", str(tmp_path / "long.toml"), "--repository",
               str(tmp_path / "models"), "--engine", "ray", "--workers", "1"]  # fmt: skip
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(r"only: epoch \d+/1000000, loss .*, worker \d+", line):
                break
        mine = set(descendants(process.pid))
        assert len(mine) > 3
        os.kill(process.pid, how)
        assert process.wait() == (130 if how == signal.SIGINT else -how)
        process.stderr.read()
    assert ended(mine, 40)
    assert not list((tmp_path / "models").glob("long/*"))
