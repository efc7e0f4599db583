"""Every rule against the formulas written out in plain Python, with members missing anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_repo import Fusion, Geometric, Mean, Median, ReciprocalRank, Stacked, Vote, Weighted
from server.runtime.answer.fusion import fuse, shares, winners
from tests.server.runtime import reference

RULES: list[Fusion] = [
    Mean(),
    Mean(temperature=0.7),
    Weighted(),
    Weighted(temperature=1.8),
    Vote(),
    Vote(temperature=2.0),
    Geometric(),
    Geometric(floor=1e-3, temperature=0.5),
    Median(),
    Median(temperature=1.3),
]
Mask = NDArray[np.bool_]


@st.composite
def batches(draw: st.DrawFn) -> tuple[NDArray[np.float32], list[float], Mask]:
    """Float32 probabilities [K, n, C], some of them exact zeros and ones, weights [K], mask [K, n]."""
    K, n, C = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    P = random.dirichlet(np.full(C, draw(st.sampled_from([0.05, 1.0, 20.0]))), size=(K, n)).astype(np.float32)
    sharp = random.random((K, n)) < 0.2
    P[sharp] = np.eye(C, dtype=np.float32)[random.integers(0, C, int(sharp.sum()))]
    weights = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=K, max_size=K))
    mask = random.random((K, n)) < draw(st.sampled_from([0.2, 0.7, 1.0]))
    P[~mask] = np.nan
    return P, weights, mask


@pytest.mark.parametrize("fusion", RULES, ids=repr)
@settings(max_examples=60, deadline=None)
@given(batch=batches())
def test_every_rule_is_its_formula_over_the_members_that_answered(
    fusion: Fusion, batch: tuple[NDArray[np.float32], list[float], Mask]
) -> None:
    P, weights, mask = batch
    expected = np.array(reference.fuse(fusion, P, weights, mask))
    np.testing.assert_allclose(fuse(fusion, P, weights, mask), expected, rtol=0, atol=1e-12)
    if mask.all():
        np.testing.assert_allclose(fuse(fusion, P, weights), expected, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    constant=st.sampled_from([1.0, 60.0]),
    distinct=st.booleans(),
    present=st.sampled_from([0.5, 1.0]),
)
def test_reciprocal_rank_is_its_formula_with_ties_in_the_order_of_the_candidates(
    seed: int, constant: float, distinct: bool, present: float
) -> None:
    random = np.random.default_rng(seed)
    S = random.normal(size=(3, 4, 5)) if distinct else random.integers(0, 3, (3, 4, 5)).astype(np.float64)
    mask = random.random((3, 4)) < present
    weights, fusion = [1.0, 0.0, 2.0], ReciprocalRank(constant=constant)
    expected = np.array(reference.fuse(fusion, S, weights, mask))
    np.testing.assert_allclose(fuse(fusion, S, weights, mask), expected, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(batch=batches(), fusion=st.sampled_from(RULES))
def test_a_row_does_not_depend_on_the_rows_beside_it(
    batch: tuple[NDArray[np.float32], list[float], Mask], fusion: Fusion
) -> None:
    P, weights, mask = batch
    together = fuse(fusion, P, weights, mask)
    for row in range(P.shape[1]):
        alone = fuse(fusion, P[:, [row]], weights, mask[:, [row]])
        np.testing.assert_allclose(alone[0], together[row], rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(batch=batches(), fusion=st.sampled_from(RULES))
def test_fused_probabilities_are_a_distribution_wherever_a_member_answered(
    batch: tuple[NDArray[np.float32], list[float], Mask], fusion: Fusion
) -> None:
    P, weights, mask = batch
    fused = fuse(fusion, P, weights, mask)
    answered = mask.any(axis=0)
    np.testing.assert_allclose(fused[answered].sum(axis=1), 1.0, atol=1e-6)
    assert np.isnan(fused[~answered]).all()


def test_a_missing_member_is_skipped_and_the_weights_of_the_rest_renormalised() -> None:
    P = np.array([[[0.9, 0.1]], [[0.2, 0.8]], [[np.nan, np.inf]]])
    fused = fuse(Weighted(), P, [1.0, 3.0, 100.0], np.array([[True], [True], [False]]))
    np.testing.assert_allclose(fused, [[0.25 * 0.9 + 0.75 * 0.2, 0.25 * 0.1 + 0.75 * 0.8]])


def test_members_count_equally_where_all_that_answered_weigh_nothing() -> None:
    P = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 0.5]]])
    fused = fuse(Weighted(), P, [0.0, 0.0, 1.0], np.array([[True], [True], [False]]))
    np.testing.assert_allclose(fused, [[0.5, 0.5]])
    np.testing.assert_allclose(shares(Weighted(), [0.0, 0.0]), [0.5, 0.5])


def test_mean_and_median_ignore_weights() -> None:
    np.testing.assert_allclose(shares(Mean(), [5.0, 1.0]), [0.5, 0.5])
    np.testing.assert_allclose(shares(Median(), [5.0, 1.0]), [0.5, 0.5])


def test_a_tied_vote_goes_to_the_class_with_the_larger_mean_probability() -> None:
    P = np.array([[[0.6, 0.4, 0.0]], [[0.05, 0.95, 0.0]]])
    fused = fuse(Vote(), P, [1.0, 1.0])
    np.testing.assert_allclose(fused, [[0.5, 0.5, 0.0]])
    assert winners(Vote(), fused, P).tolist() == [1]
    assert winners(Mean(), fused, P).tolist() == [0], "other rules have no such tie-break"


def test_a_tie_of_weights_that_only_rounding_breaks_is_a_tie() -> None:
    P = np.array([[[1.0, 0.0]], [[1.0, 0.0]], [[0.4, 0.6]], [[0.4, 0.6]]])[[0, 2, 1, 3]]
    weights = [0.1, 0.3, 0.2, 0.0]  # 0.1 + 0.2 against 0.3
    fused = fuse(Vote(), P, weights)
    assert winners(Vote(), fused, P).tolist() == [0], "the mean prefers class 0"


def test_a_tied_vote_with_a_member_missing_asks_the_members_that_answered() -> None:
    P = np.array([[[0.6, 0.4]], [[0.45, 0.55]], [[np.nan, np.nan]]])
    mask = np.array([[True], [True], [False]])
    assert winners(Vote(), fuse(Vote(), P, [1, 1, 1], mask), P, mask).tolist() == [0]


def test_one_certain_zero_does_not_veto_a_class_in_the_geometric_mean() -> None:
    P = np.array([[[0.0, 1.0]], [[0.9, 0.1]], [[0.9, 0.1]]])
    loose, tight = (fuse(Geometric(floor=floor), P, [1, 1, 1])[0, 0] for floor in (1e-1, 1e-12))
    assert 0 < tight < loose


def test_medians_that_are_all_zero_give_way_to_the_mean() -> None:
    P = np.eye(3)[:, None, :]
    np.testing.assert_allclose(fuse(Median(), P, [1, 1, 1]), [[1 / 3, 1 / 3, 1 / 3]])


def test_the_median_of_values_is_not_renormalised() -> None:
    values = np.array([[[2.0]], [[5.0]], [[11.0]]])
    assert fuse(Median(), values, [1, 1, 1]).tolist() == [[5.0]]
    masked = fuse(Median(), values, [1, 1, 1], np.array([[True], [True], [False]]))
    assert masked.tolist() == [[3.5]]


def stacked(fallback: Mean | Vote, temperature: float = 1.0) -> Stacked:
    return Stacked(file="fusion.onnx", sha256="0" * 64, bytes=1, fallback=fallback, temperature=temperature)


def first_member(P: NDArray[np.float32]) -> NDArray[np.float32]:
    """A learned rule that believes one member; checks what it is given."""
    assert P.dtype == np.float32
    assert P.flags.c_contiguous
    assert np.isfinite(P).all()
    return P[:, 0]


def test_the_learned_rule_answers_complete_rows_and_its_fallback_the_others() -> None:
    P = np.array([[[0.9, 0.1], [0.9, 0.1]], [[0.5, 0.5], [np.nan, np.nan]]])
    mask = np.array([[True, True], [True, False]])
    fused = fuse(stacked(Mean(temperature=2.0), temperature=0.5), P, [1, 1], mask, first_member)
    np.testing.assert_allclose(fused[0], reference.temper([0.9, 0.1], 0.5), atol=1e-6)
    np.testing.assert_allclose(fused[1], reference.temper([0.9, 0.1], 2.0), atol=1e-12)


def test_the_stacked_rule_asks_for_its_model() -> None:
    with pytest.raises(ValueError, match=r"fusion\.onnx"):
        fuse(stacked(Vote()), np.full((2, 1, 2), 0.5), [1, 1])


@example(p=1e-38, temperature=0.01)
@settings(deadline=None)
@given(p=st.floats(1e-38, 1.0), temperature=st.floats(0.005, 100.0))
def test_temperature_is_a_softmax_of_logarithms_at_any_extreme(p: float, temperature: float) -> None:
    P = np.array([[[p, 0.3, 0.0]]]) / (p + 0.3)
    expected = reference.temper(P[0, 0].tolist(), temperature)
    np.testing.assert_allclose(fuse(Mean(temperature=temperature), P, [1.0])[0], expected, atol=1e-12)
