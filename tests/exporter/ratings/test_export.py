"""A whole export of ratings: what is served is what was fitted, and unknown users and films get an answer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.ratings.samples import FIRST, ratings, write_csv

RECIPE = """
name = "films"
task = "regression"
[data]
source = "movielens"
[split]
fusion = 0.15
golden = 8
folds = 0
[acceptance]
enforce = false
[members.factors]
family = "factors"
dimensions = 2
regularisation = 0.5
[members.popularity]
family = "popularity"
"""


@pytest.mark.timeout(120)
def test_an_export_is_served_with_the_answers_it_was_measured_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "films.toml").write_text(RECIPE)
    rows = ratings()
    write_csv(tmp_path, rows)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    command = [str(tmp_path / "films.toml"), "--data", str(tmp_path), "--workers", "1",
               "--repository", str(tmp_path / "models"), "--report", str(tmp_path / "report")]  # fmt: skip
    assert main(command) == 0
    version = Repository(tmp_path / "models").open("films", 1)
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    test = {"user": rows[:60, 0], "item": rows[:60, 1], "timestamp": rows[:60, 3]}
    served = ensemble.predict(test, ["value"]).outputs["value"]
    report = version.manifest.report
    assert report["rows"] == 60
    error = float(np.sqrt(np.square(served.ravel() - rows[:60, 2]).mean()))
    assert report["fused"]["rmse"] == pytest.approx(error, abs=1e-5)
    assert 0 < report["fused"]["ndcg_at_10"] <= 1
    unknown = {name: np.array([value], dtype=np.int64) for name, value in
               (("user", 10**12), ("item", -4), ("timestamp", FIRST))}  # fmt: skip
    (answer,) = ensemble.predict(unknown, ["value"]).outputs["value"].ravel()
    assert answer == pytest.approx(rows[60:, 2].mean(), abs=0.4)
    ensemble.close()
