"""Detectors: scores on a common scale, the gate, and what happens where one fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_repo.format.side_rules import OUTPUTS
from server.errors import LoadError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.answer.task_steps import output_specs
from server.runtime.datatypes import Array
from server.runtime.options import PlanName
from server.runtime.side_models.detectors import Scale
from tests.graphs import heads, nan_above, softmax_linear
from tests.repositories import Spec
from tests.server.runtime.loading import PLANS, load
from tests.server.runtime.manifests import manifest, member
from tests.side_models import W, check_golden, detector, distance, fragile, publish_with, score

NEAR, FAR = distance(), distance((1, 1, 1), keepdims=1)
BOTH = [(detector("near", NEAR), NEAR), (detector("far", FAR, weight=3.0, quantiles=(0.0, 1.0, 4.0, 5.0)), FAR)]
ONE = BOTH[:1]


def answered(ensemble: LoadedEnsemble, x: Any, *names: str) -> list[Array]:
    """Those outputs for rows `x`; the ensemble is closed."""
    got = ensemble.predict({"x": np.asarray(x, np.float32)}, names)
    ensemble.close()
    return [got.outputs[name] for name in names]


@pytest.mark.parametrize(
    ("quantiles", "raw", "share"),
    [
        ((0, 1, 2, 3, 4), 1.5, 0.375),
        ((0, 1, 2, 3, 4), -1.0, 0.0),
        ((0, 1, 2, 3, 4), 0.0, 0.0),
        ((0, 1, 2, 3, 4), 4.0, 1.0),
        ((0, 1, 2, 3, 4), 99.0, 1.0),
        ((0, 1, 2, 3, 4), np.inf, 1.0),
        ((0, 1, 2, 3, 4), -np.inf, 0.0),
        ((0, 1, 1, 1, 2), 1.0, 0.5),
        ((0, 0, 0, 0, 2), 0.0, 0.375),
        ((0, 0, 0, 0, 2), -0.1, 0.0),
        ((7, 7), 7.0, 0.5),
        ((7, 7), 6.9, 0.0),
        ((7, 7), 7.1, 1.0),
    ],
)
def test_a_score_becomes_the_share_of_reference_rows_that_are_less_strange(
    quantiles: tuple[float, ...], raw: float, share: float
) -> None:
    assert Scale(quantiles)(np.array([raw], np.float32))[0] == pytest.approx(share)
    assert np.isnan(Scale(quantiles)(np.array([np.nan]))[0])


@pytest.mark.parametrize("plan", PLANS)
def test_the_score_is_the_detectors_weighted_mean_whatever_the_plan(
    tmp_path: Path, pool: SessionPool, plan: PlanName
) -> None:
    publish_with(tmp_path, BOTH)
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan))
    assert ensemble.default_outputs == ("probabilities", "label", "ood_score")
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    (given,) = answered(ensemble, x, "ood_score")
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, score(BOTH, {"x": x}), atol=1e-6)


def test_a_row_is_in_the_distribution_up_to_the_threshold(tmp_path: Path, pool: SessionPool) -> None:
    publish_with(tmp_path, ONE, ood_threshold=0.5)
    ensemble = load(tmp_path, pool)
    assert ensemble.default_outputs == ("probabilities", "label", "ood_score", "in_distribution")
    assert ensemble.outputs["in_distribution"].datatype == "BOOL"
    given, gate = answered(ensemble, [[0, 0, 0], [1, 2, 0], [0, 0, 3], [9, 9, 9]], "ood_score", "in_distribution")
    np.testing.assert_allclose(given, [0.0, 0.5, 0.9, 1.0], atol=1e-6)
    assert gate.tolist() == [True, True, False, False]


def test_detectors_do_not_vote(tmp_path: Path, pool: SessionPool) -> None:
    publish_with(tmp_path, BOTH)
    publish_with(tmp_path)
    feeds = {"x": np.ones((2, 3), np.float32)}
    ensembles = [load(tmp_path, pool, version=version) for version in (1, 2)]
    with_detectors, without = (each.predict(feeds, ["probabilities", "members"]) for each in ensembles)
    for name, given in with_detectors.outputs.items():
        np.testing.assert_array_equal(given, without.outputs[name])
    for ensemble in ensembles:
        ensemble.close()


def test_a_detector_runs_only_when_its_outputs_are_asked_for(tmp_path: Path, pool: SessionPool) -> None:
    brittle = fragile()
    publish_with(tmp_path, [(detector("brittle", brittle, "y"), brittle)])
    ensemble = load(tmp_path, pool)
    feeds = {"x": np.full((1, 3), 9, np.float32)}
    assert ensemble.predict(feeds, ["label"]).failures == ()
    assert [f.member for f in ensemble.predict(feeds, ["ood_score"]).failures] == ["brittle"]
    ensemble.close()


@pytest.mark.parametrize("plan", ["sequential", "merged"])
def test_where_a_detector_fails_the_others_tell(tmp_path: Path, pool: SessionPool, plan: PlanName) -> None:
    brittle = fragile()
    publish_with(tmp_path, [*ONE, (detector("brittle", brittle, "y", weight=9.0), brittle)])
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan))
    feeds = {"x": np.array([[0, 0, 1], [9, 0, 0]], np.float32)}
    got = ensemble.predict(feeds, ["label", "ood_score"])
    np.testing.assert_allclose(got.outputs["ood_score"], [0.1, 1.0], atol=1e-6)
    assert (got.answered, got.usable) == (None, None)
    assert [(f.member, f.reason, f.role) for f in got.failures] == [("brittle", "invalid_input", "detector")]
    ensemble.close()


def test_a_row_that_no_detector_can_tell_is_nan_and_not_in_the_distribution(tmp_path: Path, pool: SessionPool) -> None:
    blind = nan_above(5.0, np.zeros((3, 1)))
    publish_with(tmp_path, [(detector("blind", blind, "y"), blind)], ood_threshold=1.0)
    ensemble = load(tmp_path, pool)
    feeds = {"x": np.array([[6, 0, 0], [0, 0, 0]], np.float32)}
    got = ensemble.predict(feeds, ["ood_score", "in_distribution"])
    assert np.isnan(got.outputs["ood_score"]).tolist() == [True, False]
    assert got.outputs["in_distribution"].tolist() == [False, True]
    assert [(f.member, f.detail) for f in got.failures] == [("blind", "1 of 2 rows NaN")]
    ensemble.close()


def test_a_detector_of_weight_zero_is_not_run(tmp_path: Path, pool: SessionPool) -> None:
    brittle = fragile()
    publish_with(tmp_path, [*ONE, (detector("brittle", brittle, "y", weight=0.0), brittle)])
    ensemble = load(tmp_path, pool)
    assert set(ensemble.providers) == {"m0", "m1", "near", "brittle"}
    assert ensemble.predict({"x": np.full((1, 3), 9, np.float32)}, ["ood_score"]).failures == ()
    ensemble.close()


def test_a_detector_may_share_its_file_with_a_member(tmp_path: Path, pool: SessionPool) -> None:
    trunk = heads(np.eye(3), [W[0], np.array([[1.0], [0], [0]])])
    sharing = detector("same", trunk, "y1", file="members/m0.onnx", quantiles=(0.0, 2.0))
    members: dict[str, bytes | Spec] = {"m0": Spec(trunk, output="y0"), "m1": softmax_linear(W[1])}
    publish_with(tmp_path, [(sharing, trunk)], members=members)
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=1, plan="sequential"))
    assert pool.count == 2
    assert answered(ensemble, np.ones((1, 3)), "ood_score")[0].tolist() == [0.5]


def test_an_output_that_is_no_column_is_refused(tmp_path: Path, pool: SessionPool) -> None:
    wide = softmax_linear(W[0])
    publish_with(tmp_path, [(detector("wide", wide, "y"), wide)], golden={"ood_score": np.zeros(5, np.float32)})
    with pytest.raises(LoadError, match=r"detector 'wide' gives \[n, 4\], a detector gives \[n\] or \[n, 1\]"):
        load(tmp_path, pool)


@pytest.mark.parametrize(
    ("golden", "told"),
    [
        ({"ood_score": np.zeros(5, np.float32)}, r"'ood_score' does not reproduce golden row 3: gives 0.899"),
        ({"ood_score": np.zeros((5, 1), np.float32)}, r"'ood_score' is \[5, 1\], expected \[5\]"),
    ],
)
def test_the_score_of_the_golden_rows_must_be_reproduced(
    tmp_path: Path, pool: SessionPool, golden: dict[str, Array], told: str
) -> None:
    publish_with(tmp_path, ONE, golden=golden)
    with pytest.raises(LoadError, match=told) as caught:
        check_golden(tmp_path, pool)
    assert caught.value.reason == "golden"


def test_every_output_by_itself_is_kept_from_extras() -> None:
    offered = {name for classes in (("a", "b"), ()) for name in output_specs(manifest(member("one"), classes=classes))}
    assert offered <= set(OUTPUTS)
    assert {"ood_score", "in_distribution", "scores", "ranking", "conformal_set"} <= set(OUTPUTS)
