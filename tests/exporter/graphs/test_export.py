"""A whole export of a graph: what is served is what was measured, for known nodes and for new ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main
from exporter.recipe.sources import Graph
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.graphs.samples import graph, write

RECIPE = """
name = "topics"
task = "classification"
[data]
source = "graph"
neighbours = 24
[split]
golden = 6
folds = 0
[fusion]
keep = "all"
rules = ["weighted", "mean"]
[acceptance]
enforce = false
[members.linear]
family = "linear"
[members.propagation]
family = "propagation"
"""


@pytest.mark.timeout(120)
def test_an_export_is_served_with_the_answers_it_was_measured_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "topics.toml").write_text(RECIPE)
    write(tmp_path, graph())
    monkeypatch.setattr("sys.stdout", io.StringIO())
    command = [str(tmp_path / "topics.toml"), "--data", str(tmp_path), "--workers", "1",
               "--repository", str(tmp_path / "models"), "--report", str(tmp_path / "report")]  # fmt: skip
    assert main(command) == 0
    version = Repository(tmp_path / "models").open("topics", 1)
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    data = Graph(neighbours=24).load(tmp_path)
    test = data.rows.take(np.flatnonzero(data.rows.part == 1))
    served = ensemble.predict(test.inputs, ["probabilities"]).outputs["probabilities"]
    accuracy = float((served.argmax(axis=1) == test.target).mean())
    assert version.manifest.report["fused"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert accuracy > 0.7
    new = {**test.inputs, "node": np.full(len(test), -1, dtype=np.int64)}
    assert (
        ensemble.predict(new, ["probabilities"]).outputs["probabilities"].argmax(axis=1) == test.target
    ).mean() > 0.7
    ensemble.close()
