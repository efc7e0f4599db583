"""A whole export of a table, served with gaps and with words that nobody has seen; or nothing at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main
from exporter.tables.source import CATEGORIES, NUMBERS
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.tables.samples import people

pytestmark = pytest.mark.timeout(300)

RECIPE = """
name = "people"
task = "classification"
[data]
source = "table"
target = "kind"
ignored = ["score"]
rare_below = 3
[split]
folds = 0
fusion = 0.2
[fusion]
keep = "all"
publish = "mean"
[acceptance]
best_single = false
[members.boosting]
family = "tree"
trees = 10
leaves = 4
[members.linear]
family = "linear"
bins = 3
"""


def test_a_table_is_exported_and_served_with_gaps_and_strange_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people(tmp_path / "train.csv")
    (tmp_path / "people.toml").write_text(RECIPE)
    command = [str(tmp_path / "people.toml"), "--data", str(tmp_path), "--repository", str(tmp_path / "models"),
               "--report", str(tmp_path / "report"), "--workers", "1", "--json"]  # fmt: skip
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["rule"] == "mean"
    version = Repository(tmp_path / "models").open("people", 1)
    assert version.manifest.classes == ("high", "low", "middle")
    assert [(each.datatype, each.missing) for each in version.manifest.inputs] == [("FP32", "nan"), ("BYTES", "refuse")]
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    rows = {
        NUMBERS: np.array([[75, 30], [np.nan, 30], [np.nan, 30], [np.nan, np.nan]], dtype=np.float32),
        CATEGORIES: np.array([["nurse", "north"], ["astronaut", ""], ["", "moon"], ["", ""]], dtype=object),
    }
    answers = ensemble.predict(rows, ["probabilities", "members"]).outputs
    ensemble.close()
    assert answers["probabilities"][1] == pytest.approx(answers["probabilities"][2], abs=1e-6)
    assert answers["probabilities"].sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert answers["probabilities"][0].argmax() == 0


def test_a_broken_row_publishes_nothing_and_names_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people(tmp_path / "train.csv", rows=40)
    with (tmp_path / "train.csv").open("a") as stream:
        stream.write("40,30,clerk,north\n")
    (tmp_path / "people.toml").write_text(RECIPE)
    command = [str(tmp_path / "people.toml"), "--data", str(tmp_path), "--repository", str(tmp_path / "models")]
    assert main(command) == 2
    assert "train.csv, line 42: has 4 values, expected 6" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
