"""The outputs beside the fused array, against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repo import Conformal, Mean, Median, Vote, Weighted
from server.runtime.answer.fusion import fuse
from server.runtime.answer.outputs import DEFAULT_OUTPUTS
from server.runtime.answer.task_steps import output_specs, outputs
from tests.server.runtime import reference
from tests.server.runtime.manifests import manifest, member

CLASSES = ("a", "b", "c")
FULL = manifest(member("one"), member("two"), conformal=Conformal(alpha=0.1, quantile=0.6))


def test_a_classification_offers_its_outputs_in_order() -> None:
    specs = output_specs(FULL)
    assert list(specs) == [
        "probabilities",
        "label",
        "confidence",
        "agreement",
        "entropy",
        "mutual_information",
        "conformal_set",
        "members",
    ]
    assert [(spec.datatype, spec.shape) for spec in specs.values()] == [
        ("FP32", (-1, 3)),
        ("BYTES", (-1,)),
        *[("FP32", (-1,))] * 4,
        ("BOOL", (-1, 3)),
        ("FP32", (-1, 2, 3)),
    ]


def test_conformal_sets_are_offered_only_with_a_quantile() -> None:
    assert "conformal_set" not in output_specs(manifest(member("one")))


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (manifest(member("one"), classes=()), ["value", "std", "members"]),
        (manifest(member("one"), task="ranking"), ["scores", "ranking", "members"]),
    ],
    ids=["regression", "ranking"],
)
def test_other_tasks_offer_theirs(described: Any, expected: list[str]) -> None:
    assert list(output_specs(described)) == expected
    assert set(DEFAULT_OUTPUTS[described.task]) <= set(expected)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    fusion=st.sampled_from([Mean(), Weighted(), Vote(), Median(), Weighted(temperature=0.4)]),
    present=st.sampled_from([0.4, 1.0]),
)
def test_every_output_is_its_definition(seed: int, fusion: Any, present: float) -> None:
    random = np.random.default_rng(seed)
    K, n, C = 4, 5, 3
    weights = random.integers(1, 4, K).astype(float).tolist()
    described = manifest(
        *[member(f"m{k}", weight=weights[k]) for k in range(K)],
        fusion=fusion,
        conformal=Conformal(alpha=0.1, quantile=0.55),
    )
    P = random.dirichlet([0.7] * C, (K, n))
    mask = random.random((K, n)) < present
    mask[0] |= ~mask.any(axis=0)
    P[~mask] = np.nan
    whole = None if mask.all() else mask
    fused = fuse(fusion, P, weights, whole)
    got = outputs(described, output_specs(described), P, fused, whole)
    rule_weights = [1.0] * K if isinstance(fusion, Mean | Median) else weights
    for row in range(n):
        here = [k for k in range(K) if mask[k, row]]
        w = np.array([rule_weights[k] for k in here]) / sum(rule_weights[k] for k in here)
        members = [P[k, row].tolist() for k in here]
        label = _label(fusion, fused[row], np.mean(members, axis=0))
        assert got["label"][row] == CLASSES[label]
        mean = np.sum([a * np.array(p) for a, p in zip(w, members, strict=True)], axis=0)
        own = sum(a * reference.entropy(p) for a, p in zip(w, members, strict=True))
        expected = {
            "confidence": fused[row][label],
            "agreement": sum(a for a, p in zip(w, members, strict=True) if reference.argmax(p) == label),
            "entropy": reference.entropy(fused[row].tolist()),
            "mutual_information": max(0.0, reference.entropy(mean.tolist()) - own),
        }
        for name, value in expected.items():
            assert got[name][row] == pytest.approx(value, abs=1e-6), name
        inside = [1 - p <= 0.55 or c == label for c, p in enumerate(fused[row])]
        assert got["conformal_set"][row].tolist() == inside
    np.testing.assert_allclose(got["probabilities"], fused, atol=1e-7)
    np.testing.assert_array_equal(got["members"], P.transpose(1, 0, 2).astype(np.float32))
    assert got["mutual_information"].min() >= 0.0


def _label(fusion: Any, fused: Any, mean: Any) -> int:
    if not isinstance(fusion, Vote):
        return reference.argmax(fused.tolist())
    tied = fused >= fused.max() - 1e-9
    return reference.argmax(np.where(tied, mean, -1).tolist())


def test_only_what_is_asked_for_is_made_and_floats_are_single() -> None:
    P = np.full((2, 1, 3), 1 / 3)
    got = outputs(FULL, ["entropy", "label"], P, P[0])
    assert list(got) == ["entropy", "label"]
    assert got["entropy"].dtype == np.float32
    assert got["label"].dtype == np.object_
    assert got["label"].tolist() == ["a"]
    assert type(got["label"][0]) is str


def test_the_vote_of_a_certain_member_has_no_entropy() -> None:
    P = np.eye(3)[:1][None, :, :].repeat(2, axis=0)
    got = outputs(FULL, ["entropy", "mutual_information", "agreement"], P, P[0])
    assert [got[name].tolist() for name in got] == [[0.0], [0.0], [1.0]]


def test_spread_is_the_standard_deviation_of_the_members_that_answered() -> None:
    described = manifest(*[member(f"m{k}", "value") for k in range(3)], classes=())
    P = np.array([[[1.0], [2.0]], [[4.0], [np.nan]], [[7.0], [6.0]]])
    mask = np.array([[True, True], [True, False], [True, True]])
    fused = fuse(Mean(), P, [1, 1, 1], mask)
    got = outputs(described, ["value", "std"], P, fused, mask)
    spread = float(np.std([1, 4, 7]))
    np.testing.assert_allclose(got["value"], [4.0, 4.0])
    np.testing.assert_allclose(got["std"], [spread, 2.0], rtol=1e-6)
    whole = outputs(described, ["std"], P[:, :1], fused[:1])
    np.testing.assert_allclose(whole["std"], [spread], rtol=1e-6)


def test_a_ranking_names_the_best_first_and_keeps_the_order_of_equals() -> None:
    described = manifest(member("one", "value"), task="ranking")
    scores = np.array([[0.1, 5.0, 0.1], [3.0, 2.0, 1.0]])
    got = outputs(described, ["scores", "ranking"], scores[None], scores)
    assert got["ranking"].tolist() == [["b", "a", "c"], ["a", "b", "c"]]
    np.testing.assert_allclose(got["scores"], scores, rtol=1e-6)


def test_a_row_that_nobody_answered_is_nan() -> None:
    P, mask = np.full((2, 1, 3), np.nan), np.zeros((2, 1), dtype=np.bool_)
    fused = fuse(Mean(), P, [1, 1], mask)
    got = outputs(FULL, output_specs(FULL), P, fused, mask)
    for name in ("probabilities", "confidence", "agreement", "entropy", "mutual_information", "members"):
        assert np.isnan(got[name]).all(), name
