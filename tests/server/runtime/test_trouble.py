"""Members that fail are left out, blamed and told; the others answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_repo import Stacked, Weighted
from server.runtime import RuntimeOptions, SessionPool
from server.runtime.options import PlanName
from tests.graphs import nan_above, raising_above, softmax_linear, stacker
from tests.repositories import DIGEST, Spec, opened, publish
from tests.server.runtime import reference
from tests.server.runtime.loading import PLANS, W, load, rows_of

STACKED = Stacked(file="fusion.onnx", sha256=DIGEST, bytes=0, fallback=Weighted(temperature=1.2), temperature=0.8)


def test_a_learned_fusion_equals_its_model_and_falls_back_where_a_member_is_missing(
    tmp_path: Path, pool: SessionPool
) -> None:
    members: dict[str, bytes | Spec] = {"safe": softmax_linear(W[0]), "nan": nan_above(1.0, W[1])}
    publish(tmp_path, "tiny", members, STACKED, stacker=stacker(2, 4), quorum=1)
    ensemble = load(tmp_path, pool)
    X = np.array([[0.5, 1.0, -1.0], [5.0, 0.1, 0.2], [-3.0, 0.0, 2.0]], dtype=np.float32)
    got = ensemble.predict({"x": X}, ["probabilities", "members"])
    members_out = got.outputs["members"].astype(np.float64)
    logits = members_out.reshape(3, 8) @ (np.tile(np.eye(4), (2, 1)) * 4.0)
    for row in (0, 2):
        expected = reference.temper(reference.softmax(logits[row].tolist()), 0.8)
        np.testing.assert_allclose(got.outputs["probabilities"][row], expected, rtol=0, atol=2e-6)
    fallen = reference.temper(members_out[1, 0].tolist(), 1.2)
    np.testing.assert_allclose(got.outputs["probabilities"][1], fallen, rtol=0, atol=2e-6)
    ensemble.close()


def test_a_learned_fusion_that_gives_no_distribution_is_replaced_and_told(tmp_path: Path, pool: SessionPool) -> None:
    broken = np.full((8, 4), np.nan)
    good = stacker(2, 4)
    members: dict[str, bytes | Spec] = {f"m{k}": softmax_linear(W[k]) for k in range(2)}
    fallback = {"fused": np.full((4, 4), 0.25, np.float32)}
    publish(tmp_path, "tiny", members, STACKED, stacker=stacker(2, 4, broken), golden=fallback, atol=1.0)
    publish(tmp_path, "tiny", members, Weighted(temperature=1.2))
    publish(tmp_path, "tiny", members, STACKED, stacker=good)
    feeds = rows_of(5)
    answers = []
    for version in (1, 2):
        ensemble = load(tmp_path, pool, version=version)
        answers.append(ensemble.predict(feeds, ["probabilities"]))
        ensemble.close()
    np.testing.assert_array_equal(answers[0].outputs["probabilities"], answers[1].outputs["probabilities"])
    assert [(f.member, f.reason) for f in answers[0].failures] == [("(fusion)", "distribution")]
    assert answers[0].answered is None, "every member did answer"


@pytest.mark.parametrize("plan", PLANS)
def test_a_member_that_raises_is_blamed_and_the_others_answer(
    tmp_path: Path, pool: SessionPool, plan: PlanName
) -> None:
    members: dict[str, bytes | Spec] = {"good": softmax_linear(W[0]), "bad": raising_above(2.0, W[1])}
    publish(tmp_path, "tiny", members, quorum=1)
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan))
    X = np.array([[0.0, 1.0, 1.0], [9.0, 0.0, 0.0]], dtype=np.float32)
    got = ensemble.predict({"x": X}, ["probabilities", "members"])
    assert got.answered is not None
    assert got.answered.tolist() == [[True, True], [False, False]]
    assert got.usable is None, "the quorum of one holds"
    assert [(f.member, f.reason) for f in got.failures] == [("bad", "invalid_input")], "so onnxruntime calls it"
    expected = opened(softmax_linear(W[0])).run(["y"], {"x": X})[0]
    np.testing.assert_allclose(got.outputs["probabilities"], expected, atol=1e-6)
    assert np.isnan(got.outputs["members"][:, 1]).all()
    assert ensemble.predict({"x": X[:1]}, ["label"]).answered is None, "the next batch is whole again"
    ensemble.close()


@pytest.mark.parametrize("plan", PLANS)
def test_a_nan_masks_its_row_alone_in_every_plan(tmp_path: Path, pool: SessionPool, plan: PlanName) -> None:
    members: dict[str, bytes | Spec] = {"good": softmax_linear(W[0]), "bad": nan_above(2.0, W[1])}
    publish(tmp_path, "tiny", members, quorum=2)
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan))
    X = np.array([[0.0, 1.0, 1.0], [9.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype=np.float32)
    got = ensemble.predict({"x": X}, ["probabilities", "label"])
    assert got.answered is not None
    assert got.usable is not None
    assert got.answered.tolist() == [[True, True, True], [True, False, True]]
    assert got.usable.tolist() == [True, False, True]
    assert [(f.member, f.reason) for f in got.failures] == [("bad", "not_finite")]
    whole = ensemble.predict({"x": X[[0, 2]]}, ["probabilities"]).outputs["probabilities"]
    np.testing.assert_allclose(got.outputs["probabilities"][[0, 2]], whole, atol=1e-7)
    ensemble.close()


def test_without_a_required_member_a_row_is_not_usable(tmp_path: Path, pool: SessionPool) -> None:
    members: dict[str, bytes | Spec] = {
        "good": softmax_linear(W[0]),
        "needed": Spec(nan_above(2.0, W[1]), required=True),
    }
    publish(tmp_path, "tiny", members, quorum=1)
    ensemble = load(tmp_path, pool)
    got = ensemble.predict({"x": np.array([[9.0, 0, 0], [0, 0, 0]], np.float32)}, ["label"])
    assert got.usable is not None
    assert got.usable.tolist() == [False, True]
    ensemble.close()


def test_when_every_member_fails_nothing_is_usable_and_nothing_is_raised(tmp_path: Path, pool: SessionPool) -> None:
    members: dict[str, bytes | Spec] = {name: raising_above(2.0, W[0]) for name in ("one", "two")}
    publish(tmp_path, "tiny", members, quorum=1)
    ensemble = load(tmp_path, pool)
    got = ensemble.predict({"x": np.array([[9.0, 0, 0]], np.float32)}, list(ensemble.outputs))
    assert got.usable is not None
    assert not got.usable.any()
    assert np.isnan(got.outputs["probabilities"]).all()
    ensemble.close()


def test_an_input_that_every_member_refuses_is_the_inputs_fault(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {"one": softmax_linear(W[0]), "two": softmax_linear(W[1])})
    ensemble = load(tmp_path, pool)
    got = ensemble.predict({"x": np.zeros((2, 5), np.float32)}, ["label"])
    assert {f.reason for f in got.failures} == {"invalid_input"}
    ensemble.close()
