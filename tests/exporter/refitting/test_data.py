"""A version that keeps no rows takes a new member with the recipe's data, and only with that data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main as export
from exporter.cli.refit import main as refit
from model_repo import Repository

RECIPE = """
name = "mini"
task = "classification"
[data]
source = "table"
[split]
folds = 0
fusion = 0.3
golden = 5
[fusion]
rules = ["geometric", "mean"]
ledger = "answers"
keep = "all"
[acceptance]
enforce = false
[members.line]
family = "linear"
[members.trees]
family = "tree"
trees = 5
"""


def test_the_recipes_data_stands_in_for_rows_that_are_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    ages, jobs = rng.uniform(20, 70, 400), rng.choice(["cook", "pilot"], 400)
    high = ages / 70 + 0.4 * (jobs == "pilot") + rng.normal(0, 0.2, 400) > 0.9
    lines = [f"{age:.3f},{job},{'high' if rich else 'low'}" for age, job, rich in zip(ages, jobs, high, strict=True)]
    (tmp_path / "train.csv").write_text("\n".join(["age,job,income", *lines]))
    (tmp_path / "mini.toml").write_text(RECIPE)
    models = ["--repository", str(tmp_path / "models")]
    words = [str(tmp_path / "mini.toml"), "--data", str(tmp_path), "--report", str(tmp_path / "report"), *models]
    assert export([*words, "--workers", "1"]) == 0
    first = Repository(tmp_path / "models").manifest("mini", 1)
    assert first.ledger is not None
    assert first.ledger.inputs is None
    copy = tmp_path / "models" / "mini" / "1" / first.members[1].file
    change = ["mini", *models, "--accept-worse", "--json", "--member", f"copy={copy}", "--classes-of", "copy=high,low"]
    assert refit(change) == 2
    assert "keeps no rows for a new member to answer" in capsys.readouterr().err
    assert refit([*change, "--data", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["members"] == ["line", "trees", "copy"]
    second = Repository(tmp_path / "models").manifest("mini", 2)
    assert second.report["members"]["copy"]["log_loss"] == second.report["members"]["trees"]["log_loss"]
    (tmp_path / "train.csv").write_text("\n".join(["age,job,income", *lines[:-1]]))
    assert refit([*change, "--version", "1", "--data", str(tmp_path)]) == 2
    assert "is not what mini/1 was exported from: another digest" in capsys.readouterr().err
