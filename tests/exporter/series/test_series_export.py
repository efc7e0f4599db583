"""Members on series, and a whole export of them: published, served with value and spread."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main
from exporter.data.dataset import FREE, TEST, Dataset
from exporter.errors import TrainingError
from exporter.gate.inference import Graph
from exporter.gate.parity import check_parity
from exporter.gate.sweep import Sweep
from exporter.members.base import Setting, Training
from exporter.series.families import Cnn, Gru, Linear, Tree
from exporter.series.source import WINDOW, Series
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.samples import trained_alone
from tests.exporter.series.samples import hours

pytestmark = pytest.mark.timeout(300)  # the first conversion imports torch and its exporter

QUICK = Training(epochs=1, batch_rows=32)

RECIPE = """
name = "heat"
task = "regression"
[data]
source = "series"
file = ["hours.csv"]
window = 24
horizon = 6
[split]
folds = 0
[fusion]
keep = "all"
metric = "mae"
publish = "mean"
[acceptance]
best_single = false
[members.ridge]
family = "linear"
penalty = 0.1
[members.boosting]
family = "tree"
trees = 10
leaf_rows = 10
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The sample in windows of a day, the target six hours later."""
    folder = tmp_path_factory.mktemp("hours")
    hours(folder / "hours.csv")
    return Series(file=("hours.csv",), window=24, horizon=6).load(folder)


def setting_of(data: Dataset) -> Setting:
    return Setting(data.inputs, data.ranges, 1, 3, context=data.context, task="regression")


@pytest.mark.parametrize(
    "family",
    [
        Linear(series="target"),
        Gru(series="all", patch=6, hidden=4, training=QUICK),
        Cnn(width=4, layers=2, training=QUICK),
        Tree(series="all", trees=5, leaf_rows=10),
    ],
    ids=lambda family: str(family.family),
)
def test_the_graph_answers_as_the_member_and_moves_with_the_level(
    family: Linear | Gru | Cnn | Tree, data: Dataset
) -> None:
    fit, test = (data.rows.take(np.flatnonzero(data.rows.part == part)) for part in (FREE, TEST))
    member = trained_alone(family, fit, setting_of(data))
    graph = Graph(member.to_onnx())
    check_parity(member.predict, graph, Sweep.of(test, data), member.kind, member.tolerance)
    higher = {WINDOW: test.inputs[WINDOW] + np.float32(64)}
    assert graph(higher) == pytest.approx(graph(test.inputs) + 64, abs=1e-2)


def test_lags_tell_what_is_to_come(data: Dataset) -> None:
    fit, test = (data.rows.take(np.flatnonzero(data.rows.part == part)) for part in (FREE, TEST))
    same = np.abs(test.target - test.inputs[WINDOW][:, -1, 1]).mean()
    found = trained_alone(Linear(penalty=0.01), fit, setting_of(data)).predict(test.inputs)[:, 0]
    assert np.abs(found - test.target).mean() < 0.3 * same


def test_a_patch_that_does_not_divide_the_window_is_refused(data: Dataset) -> None:
    fit = data.rows.take(np.flatnonzero(data.rows.part == FREE))
    with pytest.raises(TrainingError, match="patch is 5, expected a divisor of the window's 24 steps"):
        Gru(patch=5, training=QUICK).train(fit, setting_of(data))


def test_a_series_is_exported_and_served_with_its_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hours(tmp_path / "hours.csv")
    (tmp_path / "heat.toml").write_text(RECIPE)
    command = [str(tmp_path / "heat.toml"), "--data", str(tmp_path), "--repository", str(tmp_path / "models"),
               "--report", str(tmp_path / "report"), "--workers", "1", "--json"]  # fmt: skip
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["rule"] == "mean"
    version = Repository(tmp_path / "models").open("heat", 1)
    report = version.manifest.report
    assert report["rows"] == 420 // 5 - 24 - 5
    assert report["fused"]["mae"] <= max(figures["mae"] for figures in report["members"].values())
    data = Series(file=("hours.csv",), window=24, horizon=6).load(tmp_path)
    test = data.rows.take(np.flatnonzero(data.rows.part == TEST))
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    answers = ensemble.predict(test.inputs, ["value", "std", "members"]).outputs
    ensemble.close()
    members = answers["members"].reshape(len(test), 2)
    assert answers["value"].ravel() == pytest.approx(members.mean(axis=1), abs=1e-4)
    assert answers["std"].ravel() == pytest.approx(members.std(axis=1), abs=1e-4)
    assert np.abs(answers["value"].ravel() - test.target).mean() == pytest.approx(report["fused"]["mae"], abs=1e-4)
