"""Ranks under torch's elastic agent: one that dies is begun anew, what is finished stays finished, nothing is left."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.cli.export import main
from exporter.errors import ExportError
from exporter.optimisation.spec import DataParallel
from exporter.training.engines.engine import Again, Done, Event, Failed, Outcome
from exporter.training.engines.torchrun import Torchrun
from model_repo import Repository
from tests.exporter.training.families import Scripted, given, task
from tests.exporter.training.processes import children, gone

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

Found = tuple[dict[str, Outcome], list[Event], Path]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Two ranks with a member of each kind, alone and together."""
    folder = tmp_path_factory.mktemp("ranks")
    where, both, told = given(folder / "work"), DataParallel(workers=2), list[Event]()
    tasks = [
        task("good", Scripted(), where),
        task("good", Scripted(), where, fold=0),
        task("bad", Scripted(does="fail"), where, fold=1),
        task("unlucky", Scripted(does="die once", note=str(folder / "unlucky")), where),
        task("together", Scripted(), where, technique=both),
    ]
    before = children()
    outcomes = {outcome.task.label: outcome for outcome in Torchrun(2).run(tasks, where, told.append)}
    assert children() <= before
    return outcomes, told, folder


def test_a_rank_that_dies_is_begun_anew_and_no_finished_task_is_trained_twice(found: Found) -> None:
    outcomes, told, folder = found
    assert {label for label, outcome in outcomes.items() if isinstance(outcome, Done)} == {
        "good", "good, fold 1", "unlucky", "together",
    }  # fmt: skip
    assert len((folder / "unlucky").read_text().split()) == 2
    again = [event for event in told if isinstance(event, Again)]
    assert {event.task.label for event in again} == {"unlucky"}
    assert again[0].reason == "member 'unlucky': its rank died"


def test_a_member_that_fails_on_a_rank_is_named_and_not_tried_again(found: Found) -> None:
    bad = found[0]["bad, fold 2"]
    assert isinstance(bad, Failed)
    assert bad.reason == "member 'bad' (fold 1): the loss is nan after epoch 1 of 3"


def test_nothing_is_left_of_the_ranks(found: Found) -> None:
    _, _, folder = found
    assert gone(str(folder), 5)
    assert not list((folder / "work").glob("torchrun-*"))


def test_a_gang_that_is_larger_than_there_are_ranks_is_refused(tmp_path: Path) -> None:
    where = given(tmp_path)
    large = task("large", Scripted(), where, technique=DataParallel(workers=3))
    with pytest.raises(ExportError, match=r"workers is 3, --engine torchrun has 2 ranks.*: expected --workers 3"):
        list(Torchrun(2).run([large], where, lambda event: None))


RECIPE = """
name = "ranks"
task = "classification"
[data]
source = "digits"
[split]
test = 0.6
folds = 0
[fusion]
keep = "all"
[acceptance]
enforce = false
[members.first]
family = "tree"
trees = 4
copies = 1
[members.second]
family = "pca"
components = 4
hidden = 4
training = {epochs = 2}
"""


def words(folder: Path, *more: str) -> list[str]:
    (folder / "ranks.toml").write_text(RECIPE)
    return [str(folder / "ranks.toml"), "--repository", str(folder / "models"), "--report", str(folder / "report"),
            "--json", *more]  # fmt: skip


def test_ranks_of_a_torchrun_that_runs_the_command_publish_one_version_with_the_digests_of_one_process(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tutti",
               "export", *words(tmp_path, "--engine", "torchrun", "--work", str(tmp_path / "work"))]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["version"] == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        assert main(words(tmp_path, "--workers", "1")) == 0
    first, second = (Repository(tmp_path / "models").manifest("ranks", version) for version in (1, 2))
    assert [member.sha256 for member in first.members] == [member.sha256 for member in second.members]
    assert first.provenance["training"] == {"engine": "torchrun", "technique": "parallel", "workers": 2}
    assert not list((tmp_path / "work").glob("torchrun-*"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_export_that_is_ended_leaves_no_rank_running_and_nothing_published(tmp_path: Path, how: int) -> None:
    more = ["--engine", "torchrun", "--workers", "2", "--work", str(tmp_path / "work"), "--set",
            "members.second.training.epochs=100000"]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "tutti", "export", *words(tmp_path, *more)], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(r"second: epoch \d+/100000, loss .*, rank \d", line):
                break
        os.kill(process.pid, how)
        assert process.wait() == (130 if how == signal.SIGINT else -how)
        process.stderr.read()
    assert gone(str(tmp_path), 20)
    assert not (tmp_path / "models").exists()
