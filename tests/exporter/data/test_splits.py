"""Splits: stratified, disjoint, complete, and the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.data.dataset import FUSION, TEST, Rows
from exporter.data.splits import Split, SplitSpec, allocate, split
from exporter.errors import DataError


def classes(*counts: int) -> np.ndarray:
    """A class for each row, shuffled, `counts[c]` of class c."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(5).permutation(rows)


def split_of(y: np.ndarray, spec: SplitSpec, seed: int, names: Sequence[str] = ()) -> Split:
    """The split of rows of classes `y`."""
    return split(Rows.of({}, y), spec, seed, names or [str(label) for label in range(int(y.max()) + 1)])


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
    found = split_of(y, spec, seed)
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
    first, again, other = split_of(y, spec, 1), split_of(y, spec, 1), split_of(y, spec, 2)
    for part in first.parts():
        assert np.array_equal(first.parts()[part], again.parts()[part])
    assert np.array_equal(first.fold, again.fold)
    assert not np.array_equal(first.test, other.test)


def test_the_parts_have_the_sizes_that_were_asked_for() -> None:
    found = split_of(classes(*[180] * 10), SplitSpec(test=0.3, fusion=0.11, golden=20), 0)
    assert {name: len(rows) for name, rows in found.parts().items()} == {
        "test": 540, "fusion": 198, "golden": 20, "fit": 1042,
    }  # fmt: skip


def test_a_class_with_too_few_rows_is_named() -> None:
    with pytest.raises(DataError, match=r"class 'rare' has \d rows in the (fusion|fit|test) split"):
        split_of(classes(200, 3), SplitSpec(golden=2), 0, ("common", "rare"))


def test_a_split_that_leaves_nothing_to_fit_is_refused() -> None:
    with pytest.raises(DataError, match="golden split wants 40 of"):
        split_of(classes(20, 20), SplitSpec(test=0.3, fusion=0.3, golden=40), 0)


def test_largest_remainders_get_the_rows_that_are_left() -> None:
    assert allocate([50, 30, 20], 10, "test") == [5, 3, 2]
    assert allocate([10, 10, 10], 4, "test") == [2, 1, 1]
    assert sum(allocate([7, 11, 13], 8, "test")) == 8


def test_rows_that_the_data_gives_to_a_part_are_in_it_and_nothing_else_is() -> None:
    y = classes(60, 60)
    part = np.zeros(120, dtype=np.int8)
    part[100:] = TEST
    part[80:100] = FUSION
    found = split(Rows.of({}, y, part), SplitSpec(test=0.5, fusion=0.3, golden=7, folds=2), 0, ("a", "b"))
    assert found.test.tolist() == list(range(100, 120))
    assert found.fusion.tolist() == list(range(80, 100))
    assert found.fit.tolist() == list(range(80))  # golden rows are copies of test rows
    assert len(found.golden) == 7
    assert set(found.golden) <= set(found.test)


def test_a_given_test_part_leaves_the_fusion_rows_to_be_drawn() -> None:
    part = np.zeros(100, dtype=np.int8)
    part[:40] = TEST
    found = split(Rows.of({}, classes(50, 50), part), SplitSpec(fusion=0.25), 0, ("a", "b"))
    assert found.test.tolist() == list(range(40))
    assert len(found.fusion) == 15
    assert set(found.fusion) | set(found.fit) == set(range(40, 100))


def test_values_are_split_without_classes() -> None:
    values = np.random.default_rng(3).normal(size=50).astype(np.float32)
    found = split(Rows.of({}, values), SplitSpec(test=0.2, fusion=0.2, golden=5, folds=3), 1)
    assert [len(rows) for rows in found.parts().values()] == [25, 10, 10, 5]
    assert np.bincount(found.fold).tolist() == [9, 8, 8]
    with pytest.raises(DataError, match="there are 2 rows in the fit split, at least 3 are needed"):
        split(Rows.of({}, values[:8]), SplitSpec(test=0.3, fusion=0.3, golden=2, folds=3), 1)
