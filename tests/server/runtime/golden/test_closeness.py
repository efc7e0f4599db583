"""Whether two numbers are one: relative to their size, rounded alike, with NaN and infinities told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.runtime.golden.closeness import closeness, largest, typical


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5, 1e9, 1e30])
def test_another_processors_last_digit_is_near_at_every_scale(scale: float) -> None:
    stored = (np.random.default_rng(0).normal(size=(50, 3)) * scale).astype(np.float32)
    moved = stored * (1 + np.random.default_rng(1).uniform(-5e-7, 5e-7, stored.shape))
    assert not closeness(moved, stored, 1e-12, 1e-5).far.any()
    assert closeness(stored * 1.001, stored, 1e-12, 1e-5).far.all()


def test_a_sum_in_float64_is_its_own_copy_in_float32() -> None:
    exact = np.array([[1_234_567_891.123], [2_569.374394]])
    assert not closeness(exact, exact.astype(np.float32), 0.0, 0.0).difference.any()


def test_nan_is_near_nan_and_an_infinity_near_itself_alone() -> None:
    given_values = np.array([np.nan, np.inf, -np.inf, np.inf, np.nan, 1.0])
    stored = np.array([np.nan, np.inf, np.inf, 1.0, 1.0, np.nan], np.float32)
    assert closeness(given_values, stored, 1e9, 1.0).far.tolist() == [False, False, True, True, True, True]


def test_what_overflows_the_stored_datatype_is_far() -> None:
    assert closeness(np.array([1e300]), np.array([1.0], np.float32), 1.0, 1.0).far.all()


def test_a_small_number_beside_large_ones_has_their_rounding() -> None:
    stored = np.array([[1e6, 0.5], [1.0, 0.5]], np.float32)
    moved = stored + np.array([[0.0, 0.06], [0.0, 0.06]], np.float32)
    assert closeness(moved, stored, 1e-4, 1e-5, by_row=True).far.tolist() == [[False, False], [False, True]]
    assert closeness(moved, stored, 1e-4, 1e-5).far.tolist() == [[False, True], [False, True]]


def test_the_worst_place_is_the_one_furthest_beyond_its_own_tolerance() -> None:
    stored = np.array([[1e6], [1.0]], np.float32)
    found = closeness(stored + np.array([[9.0], [0.1]]), stored, 0.0, 1e-5)
    assert found.worst == (1, 0)


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.floats(0, 1), st.floats(0, 1e-3))
@settings(max_examples=200)
def test_a_number_is_near_itself(value: float, atol: float, rtol: float) -> None:
    assert not closeness(np.array([value]), np.array([value], np.float32), atol, rtol).far.any()


def test_the_usual_size_passes_over_what_is_zero_or_not_finite() -> None:
    values = np.array([0.0, np.nan, np.inf, -4.0, 2.0, 6.0])
    assert (typical(values), largest(values)) == (4.0, 6.0)
    assert (typical(np.zeros(3)), largest(np.array([]))) == (0.0, 0.0)
