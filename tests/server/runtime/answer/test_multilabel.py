"""Probabilities label by label against the formulas in plain numpy, with members missing anywhere."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_repo import Fusion, Geometric, Mean, Median, Vote, Weighted
from server.runtime.answer import multilabel as labelwise
from server.runtime.answer.alignment import Alignment
from server.runtime.answer.fusion import fuse
from server.runtime.answer.task_steps import fuse_for, output_specs, outputs
from tests.server.runtime.manifests import manifest, member

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
RULES: list[Fusion] = [
    Mean(), Mean(temperature=0.7), Weighted(), Vote(), Vote(temperature=2.0), Geometric(),
    Geometric(floor=1e-3, temperature=0.5), Median(), Median(temperature=1.3),
]  # fmt: skip


def sigmoid(z: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-z)))


def reference(fusion: Fusion, P: Floats, weights: list[float], at_least: Floats) -> Floats:
    """[C] of the members [K, C] that answered one row."""
    w = np.array(weights) if not isinstance(fusion, Mean | Median) and any(weights) else np.ones(len(P))
    w = w / w.sum()
    if isinstance(fusion, Vote):
        fused = w @ (at_least <= P)
    elif isinstance(fusion, Geometric):
        kept = np.clip(P, fusion.floor, 1 - fusion.floor)
        fused = sigmoid(w @ np.log(kept / (1 - kept)))
    else:
        fused = np.median(P, axis=0) if isinstance(fusion, Median) else w @ P
    fused = np.where(np.isclose(fused, 1, rtol=0, atol=1e-14), 1.0, fused)
    with np.errstate(divide="ignore"):
        return fused if fusion.temperature == 1 else sigmoid(np.log(fused / (1 - fused)) / fusion.temperature)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Floats, list[float], Mask, Floats]:
    """P [K, n, C] with exact zeros and ones, weights [K], mask [K, n], thresholds [C]."""
    K, n, C = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    P = random.beta(0.4, 0.4, (K, n, C))
    P[random.random(P.shape) < 0.1] = 0.0
    P[random.random(P.shape) < 0.1] = 1.0
    weights = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=K, max_size=K))
    mask = random.random((K, n)) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    P[~mask] = np.nan
    return P, weights, mask, random.choice([0.0, 0.3, 0.5, 0.9], C)


@pytest.mark.parametrize("fusion", RULES, ids=repr)
@settings(max_examples=60, deadline=None)
@given(batch=batches())
def test_every_rule_is_its_formula_label_by_label(
    fusion: Fusion, batch: tuple[Floats, list[float], Mask, Floats]
) -> None:
    P, weights, mask, at_least = batch
    fused = fuse(fusion, P, weights, mask, task="multilabel", thresholds=at_least)
    for row in range(P.shape[1]):
        here = mask[:, row]
        if not here.any():
            assert np.isnan(fused[row]).all()
            continue
        own = [weight for weight, there in zip(weights, here, strict=True) if there]
        np.testing.assert_allclose(fused[row], reference(fusion, P[here, row], own, at_least), rtol=1e-9, atol=1e-12)
    if mask.all():
        again = fuse(fusion, P, weights, task="multilabel", thresholds=at_least)
        np.testing.assert_allclose(again, fused, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(batch=batches(), rule=st.sampled_from([Mean(), Weighted(), Vote(), Geometric(), Median()]))
def test_the_outputs_are_their_definitions(batch: tuple[Floats, list[float], Mask, Floats], rule: Fusion) -> None:
    P, weights, mask, at_least = batch
    labels = tuple(f"l{c}" for c in range(P.shape[2]))
    members = [member(f"m{k}", weight=weight or 0.25) for k, weight in enumerate(weights)]
    described = manifest(*members, task="multilabel", classes=labels, fusion=rule, thresholds=tuple(at_least.tolist()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fused = fuse_for(described, P, mask)
        found = outputs(described, output_specs(described), P, fused, mask)
    assert {name: (array.dtype.str, array.shape[1:]) for name, array in found.items()} == {
        "probabilities": ("<f4", (len(labels),)), "labels": ("|b1", (len(labels),)),
        "agreement": ("<f4", (len(labels),)), "entropy": ("<f4", (len(labels),)), "members": ("<f4", P.shape[::2]),
    }  # fmt: skip
    for row in range(P.shape[1]):
        here = mask[:, row]
        if not here.any():
            assert not found["labels"][row].any()
            assert np.isnan(found["agreement"][row]).all()
            assert np.isnan(found["entropy"][row]).all()
            continue
        p, own = fused[row], P[here, row]
        verdict = p >= at_least
        if isinstance(rule, Vote):
            tied = np.isclose(p, 0.5)
            verdict = np.where(tied, own.mean(axis=0) >= at_least, p > 0.5)
        assert found["labels"][row].tolist() == verdict.tolist()
        w = np.array([m.weight for m in members])[here] if not isinstance(rule, Mean | Median) else np.ones(here.sum())
        agreement = (w / w.sum()) @ ((own >= at_least) == verdict)
        np.testing.assert_allclose(found["agreement"][row], agreement, atol=1e-6)
        with np.errstate(divide="ignore", invalid="ignore"):
            nats = np.nan_to_num(-p * np.log(p)) + np.nan_to_num(-(1 - p) * np.log(1 - p))
        np.testing.assert_allclose(found["entropy"][row], nats, atol=1e-6)


def test_logits_are_sigmoid_logits_and_temperatures_divide_the_log_odds() -> None:
    described = manifest(
        member("p", temperature=2.0), member("z", kind="logits"), member("t", kind="logits", temperature=0.5),
        task="multilabel",
    )  # fmt: skip
    z = np.array([[-800.0, 0.3, 2.0], [1.0, -1.0, 800.0]])
    stack = Alignment(described).stack([sigmoid(z).astype(np.float32), z, z], 2)
    assert (stack.answered, stack.failures) == (None, ())
    np.testing.assert_allclose(stack.P[1], sigmoid(z), atol=1e-12)
    np.testing.assert_allclose(stack.P[2], sigmoid(z / 0.5), atol=1e-12)
    np.testing.assert_allclose(stack.P[0, :, :2], sigmoid(z / 2)[:, :2], atol=1e-4)
    assert stack.P[0, 1, 2] == 1.0, "float32 has no number between"


def test_rows_need_not_sum_to_1_but_each_number_is_a_probability() -> None:
    described = manifest(member("good"), member("bad"), task="multilabel")
    good = np.array([[0.9, 0.8, 0.7], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], np.float32)
    bad = np.array([[0.9, 0.8, 1.1], [0.1, np.nan, 0.1], [-1e-8, 1.0000001, 0.5]], np.float64)
    stack = Alignment(described).stack([good, bad], 3)
    assert stack.answered is not None
    assert stack.answered.tolist() == [[True] * 3, [False, False, True]]
    assert {(f.member, f.reason) for f in stack.failures} == {("bad", "distribution"), ("bad", "not_finite")}
    assert "1 of 3 rows not probabilities (each from 0 to 1), the first is row 0" in [f.detail for f in stack.failures]
    assert stack.P[1, 2].tolist() == [0.0, 1.0, 0.5]


def test_a_column_is_not_spread_over_two_labels() -> None:
    described = manifest(member("one"), task="multilabel", classes=("a", "b"))
    (failure,) = Alignment(described).stack([np.array([0.5, 0.5])], 2).failures
    assert (failure.reason, failure.detail) == ("shape", "gave [2], expected [2, 2]")
    single = manifest(member("one"), task="multilabel", classes=("a",))
    assert Alignment(single).stack([np.array([0.25, 0.5])], 2).P.tolist() == [[[0.25], [0.5]]]


def test_tempering_keeps_both_ends_and_the_middle() -> None:
    P = np.array([0.0, 0.5, 1.0, 1e-300])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tempered = labelwise.temper(P, 3.0)
    assert tempered[:3].tolist() == [0.0, 0.5, 1.0]
    assert tempered[3] == pytest.approx(1e-100, rel=1e-6)


@pytest.mark.parametrize("fusion", [Mean(), Weighted(), Median()], ids=repr)
def test_values_of_several_numbers_are_fused_number_by_number(fusion: Fusion) -> None:
    described = manifest(
        *(member(f"m{k}", kind="value", weight=k + 1.0) for k in range(3)),
        classes=(), task="regression", fusion=fusion, value_shape=(2, 3),
    )  # fmt: skip
    raw = np.random.default_rng(1).normal(5, 100, (3, 4, 2, 3)).astype(np.float32)
    stack = Alignment(described).stack(list(raw), 4)
    found = outputs(described, output_specs(described), stack.P, fuse_for(described, stack.P))
    expected = {
        "mean": raw.mean(axis=0, dtype=np.float64),
        "weighted": np.average(raw.astype(np.float64), axis=0, weights=[1, 2, 3]),
        "median": np.median(raw, axis=0),
    }
    rule = str(fusion.__struct_config__.tag)
    np.testing.assert_allclose(found["value"], expected[rule], rtol=1e-6)
    np.testing.assert_allclose(found["std"], raw.std(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_array_equal(found["members"], raw.transpose(1, 0, 2, 3))
    assert {name: spec.shape[1:] for name, spec in output_specs(described).items()} == {
        "value": (2, 3), "std": (2, 3), "members": (3, 2, 3),
    }  # fmt: skip


def test_a_value_of_another_shape_is_a_failure_of_its_member() -> None:
    described = manifest(member("m", kind="value"), classes=(), value_shape=(2, 3))
    (failure,) = Alignment(described).stack([np.zeros((4, 3, 2))], 4).failures
    assert failure.detail == "gave [4, 3, 2], expected [4, 2, 3]"
