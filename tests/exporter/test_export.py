"""An export from end to end on real data: published, reproducible, resumable; or nothing at all."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from exporter.cli.export import main
from exporter.cli.refit import main as refit
from exporter.recipe.recipe import parse_recipe
from exporter.recipe.sources import Digits, clean, split
from model_repo import Geometric, Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool

pytestmark = pytest.mark.timeout(300)

RECIPE = """
name = "small"
task = "classification"
seed = 3
[data]
source = "digits"
[split]
folds = 2
[fusion]
quorum = 2
keep = "all"  # three members are what these tests look at; tests/exporter/assembling/test_useful.py has the others
[acceptance]
accuracy = 0.9
log_loss = 0.2
[members.pca]
family = "pca"
training = {epochs = 10}
[members.trees]
family = "tree"
trees = 15
copies = 1
[members.retrieval]
family = "retrieval"
width = 8
training = {epochs = 6}
"""
JOBS = 9
"""Three members, each on all fit rows and without each of two folds."""


@dataclass(frozen=True)
class Run:
    """One export's folders and what it printed."""

    folder: Path
    output: str

    @property
    def repository(self) -> Repository:
        return Repository(self.folder / "models")

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def work(self) -> Path:
        return self.folder / "work"


def arguments(folder: Path, *more: str) -> list[str]:
    recipe = folder / "small.toml"
    recipe.write_text(RECIPE)
    return [str(recipe), "--repository", str(folder / "models"), "--report", str(folder / "report"),
            "--work", str(folder / "work"), "--json", *more]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The export in this process, on one core."""
    folder = tmp_path_factory.mktemp("export")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", printed)
        assert main(arguments(folder, "--workers", "1")) == 0
    return Run(folder, printed.getvalue())


def test_the_version_is_whole_and_reproduces_its_golden_rows(run: Run) -> None:
    run.repository.verify("small", 1)
    version = run.repository.open("small", 1)
    manifest = version.manifest
    assert [(m.name, m.family) for m in manifest.members] == [
        ("pca", "pca"), ("trees", "tree"), ("retrieval", "retrieval"),
    ]  # fmt: skip
    assert manifest.classes == tuple("0123456789")
    assert manifest.golden.rows == 20
    assert manifest.quorum == 2
    assert all(member.temperature != 1 for member in manifest.members)
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    ensemble.close()


def test_the_reports_figures_are_those_of_the_published_version(run: Run) -> None:
    """Computed again from the repository alone, by formulas written out here."""
    recipe = parse_recipe(RECIPE.encode(), "small")
    data = clean(Digits().load(None), "error")[0]
    test = data.rows.take(split(data.rows, recipe.split, recipe.seed, data.classes).test)
    version = run.repository.open("small", 1)
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    answers = ensemble.predict(test.inputs, ["probabilities", "members"]).outputs
    ensemble.close()
    report = version.manifest.report
    assert report["rows"] == len(test)
    for p, figures in [
        (answers["probabilities"], report["fused"]),
        *((answers["members"][:, k], report["members"][m.name]) for k, m in enumerate(version.manifest.members)),
    ]:
        right = sum(int(row.argmax() == y) for row, y in zip(p, test.target, strict=True)) / len(test)
        loss = -sum(math.log(max(row[y], 1e-7)) for row, y in zip(p, test.target, strict=True)) / len(test)
        assert figures["accuracy"] == pytest.approx(right, abs=1e-6)
        assert figures["log_loss"] == pytest.approx(loss, abs=2e-5)
        assert figures["latency_ms"] > 0
    best = min(report["members"], key=lambda name: report["members"][name]["log_loss"])
    assert report["best_single"]["name"] == best
    assert report["fused"]["log_loss"] <= report["best_single"]["log_loss"]
    assert set(report["rules"]) == {"mean", "weighted", "greedy", "vote", "geometric", "median", "stacked"}


def test_nothing_was_fitted_on_test_or_golden_rows(run: Run) -> None:
    recipe = parse_recipe(RECIPE.encode(), "small")
    data = clean(Digits().load(None), "error")[0]
    parts = split(data.rows, recipe.split, recipe.seed, data.classes)
    with np.load(run.report / "ledger.npz", allow_pickle=False) as ledger:
        rows, fold, target = ledger["rows"], ledger["fold"], ledger["target"]
        assert set(ledger["members"]) == {"pca", "trees", "retrieval"}
        assert ledger["output:pca"].shape == (len(rows), 10)
    assert set(rows) == set(parts.fit) | set(parts.fusion)
    assert np.array_equal(rows[fold == -1], parts.fusion)
    assert np.array_equal(target, data.rows.target[rows])
    golden = np.load(io.BytesIO(run.repository.open("small", 1).read("golden.npz")), allow_pickle=False)
    assert np.array_equal(golden["input:image"], data.rows.inputs["image"][parts.golden])


def test_the_report_is_a_table_a_picture_and_json(run: Run) -> None:
    text = (run.report / "leaderboard.txt").read_text()
    board = json.loads((run.report / "leaderboard.json").read_bytes())
    assert f"* {board['published']}" in text
    assert f"+ {board['best_single']}" in text
    assert "best single" in text.splitlines()[0]
    with Image.open(run.report / "leaderboard.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
    summary = json.loads(run.output)
    assert summary["version"] == 1
    assert summary["rule"] == board["published"]


def test_pictures_diversity_and_pareto_list_are_in_the_report(run: Run) -> None:
    pictures = {"leaderboard.png", "diversity.png", "pareto.png", "reliability.png", "confusion.png", "training.png"}
    assert {path.name for path in run.report.iterdir()} == pictures | {
        "leaderboard.txt", "leaderboard.json", "ledger.npz", "training.csv",
    }  # fmt: skip
    board = json.loads((run.report / "leaderboard.json").read_bytes())
    assert {each["member"] for each in board["diversity"]["contributions"]} == {"pca", "trees", "retrieval"}
    assert sum(each["efficient"] for each in board["pareto"]) >= 1
    report = run.repository.manifest("small", 1).report
    assert set(report["diversity"]["without"]) == {"pca", "trees", "retrieval"}
    assert report["pareto"][0]["latency_ms"] <= report["pareto"][-1]["latency_ms"]


def test_the_ledger_is_in_the_version_and_refits_without_training(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.folder / "models", tmp_path / "models")
    words = ["small", "--repository", str(tmp_path / "models"), "--json", "--accept-worse"]
    assert refit([*words, "--drop", "trees", "--rules", "geometric,mean"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["members"] == ["pca", "retrieval"]
    first, second = (Repository(tmp_path / "models").manifest("small", version) for version in (1, 2))
    assert second.members[0].sha256 == first.members[0].sha256
    assert second.ledger is not None
    forest = run.folder / "models" / "small" / "1" / first.members[1].file
    again = ["--version", "2", "--member", f"forest={forest}", "--classes-of", "forest=0,1,2,3,4,5,6,7,8,9"]
    assert refit([*words, *again]) == 0
    capsys.readouterr()
    third = Repository(tmp_path / "models").manifest("small", 3)
    assert third.members[2].sha256 == first.members[1].sha256
    assert third.report["members"]["forest"]["accuracy"] == first.report["members"]["trees"]["accuracy"]


def test_a_member_in_8_bits_is_fused_and_served_as_such(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["--work", str(run.work), "--resume", "--workers", "1"]
    demanded = ["--set", "members.pca.quantize=int8", "--set", "acceptance.enforce=false"]
    assert main(arguments(tmp_path, *work, *demanded)) == 0
    assert json.loads(capsys.readouterr().out)["reused"] == JOBS
    version = Repository(tmp_path / "models").open("small", 1)
    small, whole = version.manifest.members[0], run.repository.manifest("small", 1).members[0]
    assert small.bytes < whole.bytes
    assert version.manifest.golden.atol > 1e-4
    assert "int8: pca accepted, it is " in (tmp_path / "report" / "leaderboard.txt").read_text()
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    ensemble.close()


def test_the_version_says_where_it_comes_from(run: Run) -> None:
    provenance = run.repository.manifest("small", 1).provenance
    resolved = msgspec.json.encode(parse_recipe(RECIPE.encode(), "small"))
    assert provenance["recipe"] == msgspec.json.decode(resolved)
    assert provenance["data"]["rows"] == 1797
    assert {"torch", "onnx", "scikit-learn"} <= set(provenance["libraries"])
    assert str(Path.home()) not in json.dumps(provenance)


def test_an_image_of_0_to_255_becomes_a_row_of_the_datas_own_scale(run: Run) -> None:
    (entry,) = run.repository.manifest("small", 1).inputs
    assert entry.image is not None
    image = entry.image
    assert (image.mode, image.width, image.height, image.layout) == ("L", 8, 8, "HW")
    assert 255 * image.scale == pytest.approx(16)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_members_in_other_processes_too(run: Run, tmp_path: Path) -> None:
    assert main(arguments(tmp_path, "--workers", "2")) == 0
    again = Repository(tmp_path / "models").manifest("small", 1)
    first = run.repository.manifest("small", 1)
    assert [m.sha256 for m in again.members] == [m.sha256 for m in first.members]
    assert again.fusion == first.fusion
    assert again.golden.sha256 == first.golden.sha256


def test_finished_members_are_taken_over_by_digest(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["--work", str(run.work), "--resume", "--workers", "1"]
    assert main(arguments(tmp_path, *work)) == 0
    assert json.loads(capsys.readouterr().out)["reused"] == JOBS
    assert main(arguments(tmp_path, *work, "--set", "members.trees.trees=14", "--set", "fusion.publish=geometric")) == 0
    assert json.loads(capsys.readouterr().out)["reused"] == JOBS - 3
    published = Repository(tmp_path / "models")
    assert published.versions("small") == [1, 2]
    assert isinstance(published.manifest("small", 2).fusion, Geometric)


def test_a_version_that_misses_what_the_recipe_accepts_is_not_published(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["--work", str(run.work), "--resume", "--workers", "1"]
    strict = ["--set", "acceptance.log_loss=1e-6", "--set", "acceptance.accuracy=1.0"]
    assert main(arguments(tmp_path, *work, *strict)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("tutti export: small is not published: ")
    assert "accuracy is 0." in error
    assert "at most 1e-06 was asked for" in error
    assert not (tmp_path / "models").exists()
    assert main(arguments(tmp_path, *work, *strict, "--set", "acceptance.enforce=false")) == 0
    assert "MISSED: log-loss is" in (tmp_path / "report" / "leaderboard.txt").read_text()


def interrupted(command: list[str], how: signal.Signals, finished: int) -> list[str]:
    """What an export tells until it is ended so, once it has finished more than so many jobs."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What a shell starts in the background ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:  # fmt: skip
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if (found := re.search(rf"\((\d+)/{JOBS}\)", line)) and int(found[1]) > finished:
                os.kill(process.pid, how)
                break
        told += list(process.stderr)
        assert process.wait() == (130 if how == signal.SIGINT else -how), "".join(told)
    return told


@pytest.mark.slow
def test_an_interrupted_export_leaves_nothing_published_and_can_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tutti", "export", *arguments(tmp_path, "--workers", "2"), "--resume"]
    finished: list[Path] = []
    for how in (signal.SIGINT, signal.SIGKILL):
        told = interrupted(command, how, len(finished))
        if how == signal.SIGINT:
            assert "interrupted, nothing is published" in told[-1]
        assert not (tmp_path / "models").exists()
        before, finished = len(finished), list((tmp_path / "work").glob("*.npz"))
        assert before < len(finished) < JOBS
    resumed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["reused"] == len(finished)
    assert Repository(tmp_path / "models").versions("small") == [1]
