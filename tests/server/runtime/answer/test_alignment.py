"""Raw outputs become aligned probabilities; what cannot be trusted is masked, by row where it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repo import Manifest
from server.runtime.answer.alignment import Alignment, Stack
from server.runtime.answer.calibration import calibrate
from server.runtime.datatypes import Array
from tests.server.runtime import reference
from tests.server.runtime.manifests import manifest, member

GOOD = np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]], dtype=np.float32)
NAN, INF = np.nan, np.inf


def stack(described: Manifest, *raw: Array | None, rows: int = 2) -> Stack:
    return Alignment(described).stack(raw, rows)


def reasons(result: Stack) -> list[tuple[str, str]]:
    return [(failure.member, failure.reason) for failure in result.failures]


def test_clean_outputs_are_stacked_as_they_are() -> None:
    result = stack(manifest(member("one"), member("two")), GOOD, GOOD[::-1])
    assert result.answered is None
    assert result.failures == ()
    np.testing.assert_array_equal(result.P, np.stack([GOOD, GOOD[::-1]]).astype(np.float64))


def test_classes_are_aligned_by_name() -> None:
    described = manifest(member("same"), member("other", classes=("c", "a", "b")))
    result = stack(described, GOOD, GOOD[:, [2, 0, 1]])
    np.testing.assert_array_equal(result.P[1], result.P[0])


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_row_that_is_not_finite_is_masked_alone(value: float) -> None:
    broken = GOOD.copy()
    broken[1, 2] = value
    result = stack(manifest(member("one"), member("two")), GOOD, broken)
    assert result.answered is not None
    assert result.answered.tolist() == [[True, True], [True, False]]
    assert reasons(result) == [("two", "not_finite")]
    assert result.failures[0].detail == "1 of 2 rows NaN or infinite, the first is row 1"
    assert np.isnan(result.P[1, 1]).all()
    np.testing.assert_array_equal(result.P[1, 0], GOOD[0].astype(np.float64))


def test_infinities_that_cancel_are_masked_without_a_warning() -> None:
    broken = np.array([[INF, -INF, 0.0], [0.2, 0.3, 0.5]])
    for kind in ("probabilities", "logits"):
        result = stack(manifest(member("one", kind)), broken)
        assert result.answered is not None
        assert result.answered.tolist() == [[False, True]]
        assert reasons(result) == [("one", "not_finite")]


@pytest.mark.parametrize("row", [[0.5, 0.6, 0.0], [0.2, 0.2, 0.2], [1.5, -0.5, 0.0], [0.0, 0.0, 0.0]])
def test_a_row_that_is_no_distribution_is_masked_alone(row: list[float]) -> None:
    result = stack(manifest(member("one"), member("two")), GOOD, np.array([row, [0.1, 0.1, 0.8]]))
    assert result.answered is not None
    assert result.answered.tolist() == [[True, True], [False, True]]
    assert reasons(result) == [("two", "distribution")]


def test_rounding_is_no_fault() -> None:
    result = stack(manifest(member("one")), np.array([[0.3331, 0.3331, 0.3331], [1.0, -1e-7, 0.0]]))
    assert result.answered is None
    assert result.P.min() == 0.0


def test_a_row_that_is_both_is_told_once() -> None:
    broken = np.array([[NAN, 0.5, 0.5], [0.5, 0.5, 0.5]])
    result = stack(manifest(member("one"), member("two")), broken, GOOD)
    assert reasons(result) == [("one", "not_finite"), ("one", "distribution")]
    assert [failure.detail[:9] for failure in result.failures] == ["1 of 2 ro", "1 of 2 ro"]


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (2,), (2, 1), (2, 3, 1), (6,), ()])
def test_a_wrong_shape_masks_the_whole_member(shape: tuple[int, ...]) -> None:
    result = stack(manifest(member("one"), member("two")), GOOD, np.zeros(shape, dtype=np.float32))
    assert result.answered is not None
    assert result.answered.tolist() == [[True, True], [False, False]]
    assert reasons(result) == [("two", "shape")]
    assert result.failures[0].detail == f"gave {list(shape)}, expected [2, 3]"


def test_a_member_that_raised_is_masked_and_told_by_the_plan_alone() -> None:
    result = stack(manifest(member("one"), member("two")), None, GOOD)
    assert result.answered is not None
    assert result.answered.tolist() == [[False, False], [True, True]]
    assert result.failures == ()


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_sigmoid_column_is_the_second_class(shape: tuple[int, ...]) -> None:
    described = manifest(member("sigmoid"), member("other", classes=("yes", "no")), classes=("no", "yes"))
    column = np.array([0.9, 0.2], dtype=np.float32).reshape(shape)
    result = stack(described, column, column)
    np.testing.assert_allclose(result.P[0], [[0.1, 0.9], [0.8, 0.2]], atol=1e-7)
    np.testing.assert_allclose(result.P[1], [[0.9, 0.1], [0.2, 0.8]], atol=1e-7)


def test_one_column_of_logits_is_the_second_class_against_zero() -> None:
    described = manifest(member("one", "logits", temperature=2.0), classes=("no", "yes"))
    result = stack(described, np.array([[3.0], [-1.0]], dtype=np.float32))
    np.testing.assert_allclose(result.P[0, :, 1], [1 / (1 + np.exp(-1.5)), 1 / (1 + np.exp(0.5))], atol=1e-12)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_values_come_as_a_vector_or_a_column(shape: tuple[int, ...]) -> None:
    values = np.array([1.5, -2.0], dtype=np.float32).reshape(shape)
    result = stack(manifest(member("one", "value"), classes=()), values)
    assert result.P.tolist() == [[[1.5], [-2.0]]]


def test_a_ranking_takes_any_scores() -> None:
    described = manifest(member("one", "value"), member("two", "probabilities"), task="ranking")
    result = stack(described, np.array([[7.0, -1.0, 0.0], [NAN, 0.0, 0.0]]), GOOD * 9)
    assert result.answered is not None
    assert result.answered.tolist() == [[True, False], [True, True]]


def test_half_precision_is_taken() -> None:
    result = stack(manifest(member("one")), GOOD.astype(np.float16))
    assert result.answered is None
    np.testing.assert_allclose(result.P[0], GOOD, atol=1e-3)


def test_no_rows_are_no_trouble() -> None:
    assert stack(manifest(member("one")), np.zeros((0, 3)), rows=0).P.shape == (1, 0, 3)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(st.sampled_from(["probabilities", "logits"]), min_size=1, max_size=4),
    temperatures=st.lists(st.sampled_from([1.0, 0.5, 2.5]), min_size=4, max_size=4),
    rows=st.sampled_from([1, 3, 40]),
)
def test_members_of_any_kind_and_temperature_are_calibrated_each_on_its_own(
    seed: int, kinds: list[Any], temperatures: list[float], rows: int
) -> None:
    random = np.random.default_rng(seed)
    names = ("a", "b", "c")
    members, raw, expected = [], [], []
    for k, (kind, temperature) in enumerate(zip(kinds, temperatures, strict=False)):
        own = tuple(random.permutation(names).tolist())
        members.append(member(f"m{k}", kind, temperature=temperature, classes=own))
        values = random.dirichlet([0.5] * 3, rows) if kind == "probabilities" else random.normal(0, 5, (rows, 3))
        raw.append(values.astype(np.float32))
        rule = reference.temper if kind == "probabilities" else reference.softmax
        order = [own.index(name) for name in names]
        expected.append([rule(row[order].tolist(), temperature) for row in raw[-1].astype(np.float64)])
    result = Alignment(manifest(*members)).stack(raw, rows)
    assert result.answered is None
    # Probabilities at temperature 1 are left as they are: float32 rows sum to 1 within 2e-7.
    np.testing.assert_allclose(result.P, np.array(expected), rtol=0, atol=3e-7)


def test_calibration_on_its_own_is_what_alignment_does() -> None:
    described = manifest(member("one", "logits", temperature=1.7))
    raw = np.array([[1.0, 2.0, -3.0]], dtype=np.float32)
    aligned = Alignment(described).stack([raw], 1).P[0]
    np.testing.assert_array_equal(aligned, calibrate(raw, "logits", 1.7))
