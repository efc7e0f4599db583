"""A loaded version answers as its manifest says: real files, real sessions, every plan and rule."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_repo import Fusion, Geometric, Mean, Median, ReciprocalRank, Vote, Weighted
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import Array
from server.runtime.options import PlanName
from tests.graphs import coded, keyword, linear, sigmoid_linear
from tests.repositories import Spec, publish
from tests.server.runtime import reference
from tests.server.runtime.loading import PLANS, TEMPERATURES, WEIGHTS, W, load, rows_of, three


def independent(X: Array) -> Array:
    """Calibrated members [K, n, 4] in float64, straight from the weights."""
    z = [X.astype(np.float64) @ w.astype(np.float32).astype(np.float64) for w in W[:3]]
    rows: list[Any] = [[reference.softmax(row.tolist()) for row in z[0]]]
    rows.append([reference.softmax(row.tolist(), TEMPERATURES[1]) for row in z[1]])
    rows.append([reference.temper(reference.softmax(row.tolist()), TEMPERATURES[2]) for row in z[2]])
    return np.array(rows)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "fusion",
    [Mean(), Mean(temperature=0.7), Weighted(), Vote(), Geometric(temperature=1.4), Median()],
    ids=lambda fusion: type(fusion).__name__,
)
def test_fused_answers_equal_an_independent_computation(
    tmp_path: Path, pool: SessionPool, fusion: Fusion, plan: PlanName
) -> None:
    publish(tmp_path, "tiny", three(), fusion)
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan))
    assert ensemble.plan == plan
    for count in (1, 2, 7, 33, 500):
        feeds = rows_of(count)
        P = independent(feeds["x"])
        expected = np.array(reference.fuse(fusion, P, WEIGHTS, np.ones((3, count), np.bool_)))
        got = ensemble.predict(feeds, ["probabilities", "members"])
        np.testing.assert_allclose(got.outputs["probabilities"], expected, rtol=0, atol=2e-6)
        np.testing.assert_allclose(got.outputs["members"], P.transpose(1, 0, 2), rtol=0, atol=2e-6)
        assert got.outputs["probabilities"].dtype == np.float32
        assert (got.answered, got.usable, got.failures) == (None, None, ())
    ensemble.close()


def test_strings_go_in_and_names_come_out(tmp_path: Path, pool: SessionPool) -> None:
    members: dict[str, bytes | Spec] = {"one": keyword(["alpha"], 3), "two": keyword(["alpha", "beta"], 3)}
    publish(tmp_path, "tiny", members)
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan="merged"))
    assert ensemble.plan == "merged"
    got = ensemble.predict({"text": np.array(["alpha", "beta", "?"], np.object_)}, ensemble.default_outputs)
    assert got.outputs["label"].tolist() == ["c0", "c1", "c0"]
    ensemble.close()


def test_a_binary_classifier_with_one_column(tmp_path: Path, pool: SessionPool) -> None:
    members: dict[str, bytes | Spec] = {
        "flat": sigmoid_linear(W[0][:, :1], rank=1),
        "column": sigmoid_linear(W[1][:, :1]),
    }
    publish(tmp_path, "tiny", members, task="classification", classes=("no", "yes"))
    ensemble = load(tmp_path, pool)
    feeds = rows_of(6)
    z = [feeds["x"].astype(np.float64) @ w[:, 0].astype(np.float32) for w in W[:2]]
    yes = np.mean([1 / (1 + np.exp(-values)) for values in z], axis=0)
    got = ensemble.predict(feeds, ensemble.default_outputs).outputs
    np.testing.assert_allclose(got["probabilities"], np.stack([1 - yes, yes], axis=1), atol=2e-6)
    assert got["label"].tolist() == ["yes" if p > 0.5 else "no" for p in yes]
    ensemble.close()


@pytest.mark.parametrize("fusion", [Mean(), Weighted(), Median()], ids=lambda fusion: type(fusion).__name__)
def test_a_regression_gives_value_and_spread(tmp_path: Path, pool: SessionPool, fusion: Fusion) -> None:
    members: dict[str, bytes | Spec] = {f"m{k}": Spec(coded(k + 1), weight=WEIGHTS[k]) for k in range(3)}
    publish(tmp_path, "tiny", members, fusion)
    ensemble = load(tmp_path, pool)
    x = np.array([[2.0], [-1.0]], dtype=np.float32)
    P = np.array([(k + 1) * x for k in range(3)], dtype=np.float64)
    expected = np.array(reference.fuse(fusion, P, WEIGHTS, np.ones((3, 2), np.bool_)))
    got = ensemble.predict({"x": x}, list(ensemble.outputs)).outputs
    assert ensemble.default_outputs == ("value",)
    np.testing.assert_allclose(got["value"], expected[:, 0], atol=2e-6)
    np.testing.assert_allclose(got["std"], P[:, :, 0].std(axis=0), atol=2e-6)
    assert got["members"].shape == (2, 3, 1)
    ensemble.close()


@pytest.mark.parametrize("fusion", [Weighted(), ReciprocalRank()], ids=lambda fusion: type(fusion).__name__)
def test_a_ranking_gives_scores_and_names(tmp_path: Path, pool: SessionPool, fusion: Fusion) -> None:
    members: dict[str, bytes | Spec] = {f"m{k}": Spec(linear(W[k]), weight=WEIGHTS[k]) for k in range(3)}
    publish(tmp_path, "tiny", members, fusion, task="ranking")
    ensemble = load(tmp_path, pool)
    feeds = rows_of(5)
    P = np.array([feeds["x"].astype(np.float64) @ w.astype(np.float32) for w in W[:3]])
    expected = np.array(reference.fuse(fusion, P, WEIGHTS, np.ones((3, 5), np.bool_)))
    got = ensemble.predict(feeds, ensemble.default_outputs).outputs
    np.testing.assert_allclose(got["scores"], expected, atol=2e-6)
    assert got["ranking"].tolist() == [[f"c{c}" for c in np.argsort(-row, kind="stable")] for row in expected]
    ensemble.close()


def test_many_lanes_at_once_each_get_their_own_rows(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {"one": coded(3), "two": coded(5)})
    for plan in PLANS:
        ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan))
        barrier = threading.Barrier(4)

        def lane(number: int, ensemble: LoadedEnsemble = ensemble, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            x = np.full((3, 1), number + 1, dtype=np.float32)
            return all((ensemble.predict({"x": x}, ["value"]).outputs["value"] == 4 * x[:, 0]).all() for _ in range(50))

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(lane, range(4)))
        ensemble.close()
