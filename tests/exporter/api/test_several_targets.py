"""Regressions of several targets through `Exporter` and `tutti refit`: one weight for the whole value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRegressor

from exporter import Exporter
from exporter.errors import BundleError, DataError, ExportError
from exporter.foreign.objects.member import Said
from exporter.refitting.newcomers import Newcomer
from exporter.refitting.refit import Wanted, refit
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests import graphs

FEATURES, TARGETS = 5, 3
TRUE = np.random.default_rng(2).normal(0, 1, (FEATURES, TARGETS))
Floats32 = NDArray[np.float32]


def drawn(rows: int, seed: int, scale: float = 1.0) -> tuple[Floats32, Floats32]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, FEATURES)).astype(np.float32)
    y = x @ TRUE + np.sin(2 * x[:, :TARGETS]) + random.normal(0, 0.2, (rows, TARGETS))
    return x, (y * scale).astype(np.float32)


class Net(torch.nn.Module):
    """A layer whose weights are the truth's, a little off."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        noise = np.random.default_rng(3).normal(0, 0.1, TRUE.shape)
        self.kernel = torch.nn.Parameter(torch.from_numpy(((TRUE + noise) * scale).astype(np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.kernel


def boosted(**words: Any) -> MultiOutputRegressor:
    return MultiOutputRegressor(
        lightgbm.LGBMRegressor(n_estimators=40, num_leaves=8, n_jobs=1, verbose=-1, **words), n_jobs=1
    )


def served(version: Any, x: Floats32, names: tuple[str, ...] = ("value", "std")) -> dict[str, Any]:
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    found = ensemble.predict({"x": x}, names).outputs
    ensemble.close()
    return dict(found)


def test_members_of_every_make_are_fused_by_one_weight_each_and_refitted(tmp_path: Path) -> None:
    x, y = drawn(600, 1)
    new_x, new_y = drawn(400, 2)
    graph = tmp_path / "linear.onnx"
    graph.write_bytes(graphs.linear(TRUE, np.zeros(TARGETS)))
    exporter = (
        Exporter("flows", keep="all", rules=("weighted",))
        .add("net", Net())
        .add("linear", make_pipeline(StandardScaler(), LinearRegression()).fit(x, y))
        .add("forest", RandomForestRegressor(20, max_depth=6, random_state=0).fit(x, y))
        .add("boosted", boosted().fit(x, y))
        .add("xgb", MultiOutputRegressor(XGBRegressor(n_estimators=20, max_depth=3, n_jobs=1)).fit(x, y))
        .add("file", graph)
        .fit_fusion(new_x, new_y)
    )
    version = exporter.publish(tmp_path / "models", report=tmp_path / "report")
    manifest = version.manifest
    assert (manifest.task, manifest.value_shape, len(manifest.members)) == ("regression", (TARGETS,), 6)
    assert (tmp_path / "report" / "residuals.png").is_file()
    board = exporter.leaderboard
    assert board.loss(board.row("weighted")) < board.loss(board.row(board.best_single))
    fresh, truth = drawn(500, 3)
    found = served(version, fresh)
    assert found["value"].shape == found["std"].shape == (500, TARGETS)
    assert np.sqrt(np.square(found["value"] - truth).mean()) == pytest.approx(
        board.loss(board.row("weighted")), rel=0.1
    )

    newcomer = Newcomer(graph, Said())
    done = refit(Repository(tmp_path / "models"), "flows", None, Wanted(drop=("xgb",), add={"other": newcomer}), None)
    assert done.version.manifest.value_shape == (TARGETS,)
    assert "other" in [member.name for member in done.version.manifest.members]
    assert served(done.version, fresh)["value"].shape == (500, TARGETS)


@pytest.mark.parametrize("rule", ["mean", "median", "greedy", "weighted"])
def test_every_rule_is_served_as_it_was_fitted(rule: Any, tmp_path: Path) -> None:
    x, y = drawn(300, 1)
    exporter = Exporter("flows", keep="all", publish=rule)
    for k in range(3):
        exporter.add(f"ridge{k}", Ridge(alpha=10.0**k).fit(x[k * 50 :], y[k * 50 :]))
    version = exporter.fit_fusion(*drawn(200, 2)).publish(tmp_path, accept_worse=True)
    assert version.manifest.value_shape == (TARGETS,)


def test_two_targets_are_no_two_classes_and_a_value_may_have_a_shape(tmp_path: Path) -> None:
    x, y = drawn(300, 1)
    new_x, new_y = drawn(200, 2)
    version = (
        Exporter("two", keep="all")
        .add("a", Ridge().fit(x, y[:, :2]))
        .add("b", Ridge(100.0).fit(x, y[:, :2]))
        .fit_fusion(new_x, new_y[:, :2])
        .publish(tmp_path, accept_worse=True)
    )
    assert version.manifest.value_shape == (2,)


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    x, y = drawn(200, 1)
    exporter = Exporter("flows").add("one", Ridge().fit(x, y[:, 0]))
    with pytest.raises(ExportError, match="member 'one'") as told:
        exporter.fit_fusion(x, y)
    assert "1" in str(told.value)
    assert "3" in str(told.value)
    with pytest.raises(BundleError, match="member 'all': gives 3 columns, expected 1: y has 1 a row"):
        Exporter("flows").add("all", Net()).fit_fusion(x, y[:, 0])
    with pytest.raises(DataError, match=r"expected numbers \[n\] \(or \[n, d\]"):
        Exporter("flows").add("one", Ridge().fit(x, y)).fit_fusion(x, y.astype(str))
    wild = y.copy()
    wild[3, 1] = np.nan
    with pytest.raises(DataError, match="rows 3 have a target that is not finite"):
        Exporter("flows").add("one", Ridge().fit(x, y)).fit_fusion(x, wild)


@pytest.mark.parametrize("scale", [1e9, 1e-9])
def test_values_of_any_scale_are_published(scale: float, tmp_path: Path) -> None:
    x, y = drawn(400, 1, scale)
    exporter = (
        Exporter("flows", keep="all")
        .add("net", Net(scale))
        .add("forest", RandomForestRegressor(10, random_state=0).fit(x, y))
        .add("boosted", boosted().fit(x, y))
        .fit_fusion(*drawn(300, 2, scale))
    )
    version = exporter.publish(tmp_path)
    fresh, truth = drawn(100, 3, scale)
    assert np.sqrt(np.square(served(version, fresh)["value"] / scale - truth / scale).mean()) < 1.0
