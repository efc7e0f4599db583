"""Splits: stratified, disjoint, complete, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.data.splits import SplitSpec, allocate, split
from exporter.errors import DataError


def classes(*counts: int) -> np.ndarray:
    """A class for each row, shuffled, `counts[c]` of class c."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(5).permutation(rows)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(20, 90), min_size=2, max_size=8),
    test=st.floats(0.1, 0.4),
    fusion=st.floats(0.1, 0.3),
    folds=st.sampled_from([0, 2, 3, 5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_is_in_exactly_one_part_and_every_part_has_the_classes_in_proportion(
    counts: list[int], test: float, fusion: float, folds: int, seed: int
) -> None:
    y = classes(*counts)
    spec = SplitSpec(test=test, fusion=fusion, golden=len(counts), folds=folds)
    found = split(y, spec, seed)
    everything = np.concatenate(list(found.parts().values()))
    assert np.array_equal(np.sort(everything), np.arange(len(y)))
    shares = np.array(counts) / len(y)
    for part in ("test", "fusion"):
        rows = found.parts()[part]
        # The rows of earlier parts were taken in proportion too, so each part may be off by a row of its own.
        assert np.all(np.abs(np.bincount(y[rows], minlength=len(counts)) - shares * len(rows)) <= 2)
    for fold in range(folds):
        inside = np.bincount(y[found.fit[found.fold == fold]], minlength=len(counts))
        whole = np.bincount(y[found.fit], minlength=len(counts))
        assert np.all(np.abs(inside - whole / folds) < 1)


def test_one_seed_gives_one_split_and_another_seed_another() -> None:
    y = classes(50, 50, 40)
    spec = SplitSpec(golden=6)
    first, again, other = split(y, spec, 1), split(y, spec, 1), split(y, spec, 2)
    for part in first.parts():
        assert np.array_equal(first.parts()[part], again.parts()[part])
    assert np.array_equal(first.fold, again.fold)
    assert not np.array_equal(first.test, other.test)


def test_the_parts_have_the_sizes_that_were_asked_for() -> None:
    found = split(classes(*[180] * 10), SplitSpec(test=0.3, fusion=0.11, golden=20), 0)
    assert {name: len(rows) for name, rows in found.parts().items()} == {
        "test": 540, "fusion": 198, "golden": 20, "fit": 1042,
    }  # fmt: skip


def test_a_class_with_too_few_rows_is_named() -> None:
    with pytest.raises(DataError, match=r"class 'rare' has \d rows in the (fusion|fit|test) split"):
        split(classes(200, 3), SplitSpec(golden=2), 0, ("common", "rare"))


def test_a_split_that_leaves_nothing_to_fit_is_refused() -> None:
    with pytest.raises(DataError, match="golden split wants 40 of"):
        split(classes(20, 20), SplitSpec(test=0.3, fusion=0.3, golden=40), 0)


def test_largest_remainders_get_the_rows_that_are_left() -> None:
    assert allocate([50, 30, 20], 10, "test") == [5, 3, 2]
    assert allocate([10, 10, 10], 4, "test") == [2, 1, 1]
    assert sum(allocate([7, 11, 13], 8, "test")) == 8
