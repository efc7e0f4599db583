"""Labels that do not exclude each other through `Exporter` and `tutti refit`: fitted, thresholds found, served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter import Exporter
from exporter.errors import BundleError, DataError
from exporter.fusing.labels import calibrated_labels, fit_thresholds, label_temperature, odds_pool_weights, true_shares
from exporter.fusing.weights import mixture_weights
from exporter.refitting.refit import Wanted, refit
from exporter.scoring.metrics import f1, label_losses
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests import graphs

FEATURES, LABELS = 6, 4
NAMES = ("rain", "wind", "snow", "fog")
TRUE = np.random.default_rng(1).normal(0, 1.5, (FEATURES, LABELS))
OFFSET = np.array([0.0, -2.5, 0.5, -1.0])
Ints = NDArray[np.int64]


def sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-z)))


def drawn(rows: int, seed: int) -> tuple[NDArray[np.float32], Ints]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, FEATURES)).astype(np.float32)
    y = random.random((rows, LABELS)) < sigmoid(x @ TRUE + OFFSET)
    return x, y.astype(np.int64)


def members(folder: Path) -> dict[str, Path]:
    """Three linear models, each with noise of its own and twice too sure."""
    found = {}
    for k in range(3):
        random = np.random.default_rng(50 + k)
        kernel = 2 * (TRUE + random.normal(0, 0.5, TRUE.shape))
        found[f"m{k}"] = folder / f"m{k}.onnx"
        found[f"m{k}"].write_bytes(graphs.linear(kernel, 2 * OFFSET))
    return found


def exporter(folder: Path, **words: object) -> Exporter:
    made = Exporter("weather", classes=NAMES, task="multilabel", keep="all", **words)  # type: ignore[arg-type]  # words are its own
    for name, path in members(folder).items():
        made.add(name, path, kind="logits")
    return made


def test_what_is_fitted_is_what_is_served(tmp_path: Path) -> None:
    x, y = drawn(3000, 7)
    made = exporter(tmp_path).fit_fusion(x, y)
    board = made.leaderboard
    published = next(row for row in board.rows if row.kind == "rule" and row.name == board.published)
    singles = [row.metrics for row in board.rows if row.kind == "member"]
    assert published.metrics.log_loss is not None
    assert all(published.metrics.log_loss < (each.log_loss or 0) for each in singles)
    assert published.metrics.micro_f1 is not None
    assert published.metrics.macro_f1 is not None
    for name in ("m0", "m1", "m2"):
        assert board.temperatures[name] > 1.3, "they are twice too sure"
    assert "micro F1" in made.summary() or "MICRO" in made.summary().upper()
    version = made.publish(tmp_path / "models", report=tmp_path / "report")
    manifest = version.manifest
    assert (manifest.task, manifest.classes, len(manifest.thresholds)) == ("multilabel", NAMES, LABELS)
    assert manifest.conformal is None
    assert manifest.thresholds[1] < 0.5, "a rare label holds from less on"
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    fresh, truth = drawn(2000, 8)
    found = ensemble.predict({"x": fresh}, ("probabilities", "labels")).outputs
    ensemble.close()
    np.testing.assert_array_equal(found["labels"], found["probabilities"] >= np.array(manifest.thresholds))
    plain = f1(found["probabilities"] >= 0.5, truth).mean()
    assert f1(found["labels"], truth).mean() > plain


def test_a_refit_fits_weights_and_thresholds_anew(tmp_path: Path) -> None:
    x, y = drawn(1500, 9)
    exporter(tmp_path).fit_fusion(x, y).publish(tmp_path / "models")
    done = refit(Repository(tmp_path / "models"), "weather", None, Wanted(drop=("m1",), rules=("mean",)), None)
    manifest = done.version.manifest
    assert (manifest.task, [member.name for member in manifest.members]) == ("multilabel", ["m0", "m2"])
    assert len(manifest.thresholds) == LABELS
    assert done.before is not None


def test_targets_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    x, y = drawn(200, 3)
    with pytest.raises(DataError, match=r"expected 0 or 1 for each of the 4 labels: \[n, 4\]"):
        exporter(tmp_path).fit_fusion(x, y[:, 0])
    with pytest.raises(DataError, match="neither 0 nor 1"):
        exporter(tmp_path).fit_fusion(x, y * 2)
    with pytest.raises(BundleError, match="a multilabel with no classes"):
        Exporter("weather", task="multilabel")


def test_a_temperature_undoes_what_made_members_too_sure() -> None:
    x, y = drawn(20_000, 4)
    z = x @ TRUE + OFFSET
    assert label_temperature(3 * z, "logits", y) == pytest.approx(3.0, rel=0.1)
    assert label_temperature(sigmoid(3 * z), "probabilities", y) == pytest.approx(3.0, rel=0.1)
    certain = (z > 0).astype(np.float64)
    assert label_temperature(certain, "probabilities", y) == 1.0, "no temperature changes what is certain"
    np.testing.assert_allclose(calibrated_labels(sigmoid(3 * z), "probabilities", 3.0), sigmoid(z), atol=1e-6)


def test_weights_have_the_least_loss_among_many(tmp_path: Path) -> None:
    x, y = drawn(4000, 5)
    random = np.random.default_rng(6)
    P = np.stack([sigmoid(x @ (TRUE + random.normal(0, s, TRUE.shape)) + OFFSET) for s in (0.3, 0.8, 3.0)])
    weights = mixture_weights(true_shares(P, y))
    least = label_losses(np.tensordot(weights, P, 1), y).mean()
    for other in random.dirichlet(np.ones(3), 200):
        assert label_losses(np.tensordot(other, P, 1), y).mean() >= least - 1e-6
    assert weights[0] > weights[1] > weights[2]
    pool = odds_pool_weights(P, y, 1e-6)
    assert pool.sum() == pytest.approx(1.0)
    assert pool[0] > pool[2]


def test_thresholds_are_the_best_of_all() -> None:
    random = np.random.default_rng(11)
    p = np.round(random.beta(0.6, 1.5, (400, 3)), 2)
    y = (random.random((400, 3)) < p**2).astype(np.int64)
    y[:, 2] = 0
    thresholds = fit_thresholds(p, y)
    assert thresholds[2] == 0.5, "a label that never holds says nothing"
    for label in range(2):
        mine = f1(p[:, [label]] >= thresholds[label], y[:, [label]])[0]
        best = max(f1(p[:, [label]] >= cut, y[:, [label]])[0] for cut in np.linspace(0, 1, 401))
        assert mine == pytest.approx(best, abs=1e-12)
