"""Cleaning: bad rows are named, copies do not leak between splits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exporter.data.cleaning import clean
from exporter.data.dataset import TEST, Dataset
from exporter.errors import DataError
from tests.exporter.samples import dataset

ROWS = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]


def test_good_rows_stay_as_they_are() -> None:
    cleaned, found = clean(dataset(ROWS, [0, 1, 0, 1]), "error")
    assert (found.rows, found.dropped) == (4, {})
    assert np.array_equal(cleaned.rows.inputs["x"], np.asarray(ROWS, dtype=np.float32))


@pytest.mark.parametrize(
    ("value", "label", "message"),
    [
        (np.nan, 0, "rows 2 of input 'x' have a value that is not finite"),
        (np.inf, 0, "rows 2 of input 'x' have a value that is not finite"),
        (99.0, 0, "rows 2 of input 'x' have a value outside 0 to 16"),
        (4.0, 2, "rows 2 have a label outside 0 to 1"),
        (4.0, -1, "rows 2 have a label outside 0 to 1"),
    ],
)
def test_a_bad_row_is_refused_by_its_number_or_left_out(value: float, label: int, message: str) -> None:
    rows = [list(row) for row in ROWS]
    rows[2][0] = value
    data = dataset(rows, [0, 1, label, 1], ranges={"x": (0, 16)})
    with pytest.raises(DataError, match=message):
        clean(data, "error")
    cleaned, found = clean(data, "drop")
    assert cleaned.rows.ids.tolist() == [0, 1, 3]
    assert sum(found.dropped.values()) == 1


def test_of_equal_rows_the_first_stays() -> None:
    cleaned, found = clean(dataset([*ROWS, ROWS[1]], [0, 1, 0, 1, 1]), "error")
    assert cleaned.rows.ids.tolist() == [0, 1, 2, 3]
    assert found.dropped == {"equal an earlier row": 1}


def test_equal_rows_with_different_labels_all_go() -> None:
    cleaned, found = clean(dataset([*ROWS, ROWS[1]], [0, 1, 0, 1, 0]), "error")
    assert cleaned.rows.ids.tolist() == [0, 2, 3]
    assert found.dropped == {"equal another row but not its target": 2}


def test_a_class_without_rows_is_named() -> None:
    with pytest.raises(DataError, match="no row has class 'c2'"):
        clean(dataset(ROWS, [0, 1, 0, 1], classes=3), "error")


def test_nothing_left_is_said() -> None:
    with pytest.raises(DataError, match="no row is left"):
        clean(dataset([[np.nan, 0.0]], [0]), "drop")


def test_the_digest_sees_every_value_and_every_label() -> None:
    base = dataset(ROWS, [0, 1, 0, 1])
    changed = [list(row) for row in ROWS]
    changed[3][1] += 1e-3
    digests = {base.digest, dataset(changed, [0, 1, 0, 1]).digest, dataset(ROWS, [0, 1, 1, 1]).digest}
    assert len(digests) == 3
    assert dataset(ROWS, [0, 1, 0, 1]).digest == base.digest


def with_parts(x: list[list[float]], y: list[int], part: list[int]) -> Dataset:
    """Rows of which some are given to a part."""
    data = dataset(x, y)
    return replace(data, rows=replace(data.rows, part=np.array(part, dtype=np.int8)))


def test_what_equals_a_test_row_goes_and_the_test_row_stays() -> None:
    data = with_parts([ROWS[0], ROWS[1], ROWS[0], ROWS[2], ROWS[2]], [0, 1, 0, 1, 1], [0, 0, TEST, TEST, TEST])
    cleaned, found = clean(data, "error")
    assert cleaned.rows.ids.tolist() == [1, 2, 3, 4]
    assert found.dropped == {"equal a test row": 1}


def test_equal_rows_that_are_different_cases_stay() -> None:
    data = replace(dataset([ROWS[0], ROWS[0], ROWS[1]], [0, 1, 1]), unique=False)
    assert clean(data, "error")[1].dropped == {}


def test_a_value_may_be_missing_where_the_data_says_so() -> None:
    data = dataset([[np.nan, 1.0], ROWS[1]], [0, 1], ranges={"x": (0, 16)})
    cleaned, _ = clean(replace(data, may_miss=frozenset({"x"})), "error")
    assert len(cleaned.rows) == 2
    infinite = replace(dataset([[np.inf, 1.0], ROWS[1]], [0, 1]), may_miss=frozenset({"x"}))
    with pytest.raises(DataError, match="rows 0 of input 'x' have a value that is not finite"):
        clean(infinite, "error")


def test_equal_rows_with_different_values_both_stay_in_a_regression() -> None:
    data = dataset([ROWS[0], ROWS[0], ROWS[0], ROWS[1]], [0, 1, 1, 1])
    values = replace(data.rows, target=data.rows.target.astype(np.float32))
    cleaned, found = clean(replace(data, rows=values, classes=(), task="regression"), "error")
    assert cleaned.rows.ids.tolist() == [0, 3]
    assert found.dropped == {"equal an earlier row": 2}
