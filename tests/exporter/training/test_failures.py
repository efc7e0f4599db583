"""What the command says when trainings cannot be done: one line, exit status 2, nothing published."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.cli.export import main

pytestmark = pytest.mark.timeout(300)

RECIPE = """
name = "failing"
task = "classification"
[data]
source = "digits"
[split]
test = 0.6
folds = 0
[acceptance]
enforce = false
[members.trees]
family = "tree"
trees = 4
copies = 1
[members.wild]
family = "pca"
components = 4
hidden = 4
training = {epochs = 2, learning_rate = 1e30}
[members.wilder]
family = "pca"
components = 4
hidden = 5
training = {epochs = 2, learning_rate = 1e30}
"""


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What is said last by a call that ends with 2 and publishes nothing."""
    recipe = folder / "failing.toml"
    recipe.write_text(RECIPE)
    words = [str(recipe), "--repository", str(folder / "models"), "--work", str(folder / "work"), "--workers", "1"]
    assert main([*words, *more]) == 2
    assert not list((folder / "models").glob("failing/*"))
    return capsys.readouterr().err.splitlines()[-1]


def test_members_that_fail_are_named_together_when_the_others_are_done_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(tmp_path, capsys)
    assert said.startswith("tutti export: 2 of 3 trainings failed, the 1 that finished are kept in ")
    assert "for --resume: member 'wild" in said
    assert "member 'wild': the loss is nan after epoch" in said or "member 'wild': the loss is inf" in said
    assert "member 'wilder': the loss is " in said
    assert "Traceback" not in said
    assert len(list((tmp_path / "work").glob("*.npz"))) == 1
    again = refused(tmp_path, capsys, "--resume")
    assert again.startswith("tutti export: 2 of 3 trainings failed, the 1 that finished")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "training.mode=data_parallel", "--set", "training.workers=1000"],
         r"training.workers is 1000, member 'wild' has 501 rows to train on, expected a row for each worker"),
        (["--set", "training.mode=parameter_server"],
         "training.mode is 'parameter_server', whose workers are Ray's, got --engine local: expected --engine ray"),
        (["--set", "training.mode=dataflow", "--engine", "torchrun"],
         "training.mode is 'dataflow', whose workers are Ray's, got --engine torchrun: expected --engine ray"),
        (["--address", "10.0.0.1:6379"],
         "--address 10.0.0.1:6379 is of a Ray cluster, got --engine local: expected --engine ray"),
        (["--set", "training.mode=some"], "training"),
    ],
    ids=["more workers than rows", "servers, no Ray", "dataflow, no Ray", "address, no Ray", "unknown mode"],
)  # fmt: skip
def test_what_does_not_go_together_is_said_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert message in refused(tmp_path, capsys, *more)
    assert not list((tmp_path / "work").glob("*"))


def test_a_work_folder_that_takes_nothing_ends_the_export_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work").write_text("in the way")
    assert f"work folder {tmp_path / 'work'}: " in refused(tmp_path, capsys)


def test_ranks_of_a_torchrun_need_a_common_folder_and_their_own_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert "runs under torchrun, as rank 0 of 2, got --engine local" in refused(tmp_path, capsys)
    recipe = str(tmp_path / "failing.toml")
    assert main([recipe, "--repository", str(tmp_path / "models"), "--engine", "torchrun"]) == 2
    assert "--work is missing" in capsys.readouterr().err
