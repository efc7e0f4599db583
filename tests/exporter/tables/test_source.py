"""Tables from files: what becomes a number and what a category, and mistakes told by file and line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.data.dataset import TEST
from exporter.errors import DataError
from exporter.recipe.sources import SplitSpec, clean, split
from exporter.tables.source import CATEGORIES, NUMBERS, PLACES, WORDS, Table

HEADER = "age,job,pay\n"
ROWS = "39,clerk,low\n50,?,high\n,farmer,low\n28, clerk ,high\n"


def load(folder: Path, train: str | bytes, test: str | None = None, **fields: Any) -> Any:
    """The dataset of `train.csv`, and of `test.csv` where there is one."""
    (folder / "train.csv").write_bytes(train if isinstance(train, bytes) else train.encode())
    if test is not None:
        (folder / "test.csv").write_text(test)
        fields = {"test": ("test.csv",), **fields}
    return Table(**fields).load(folder)


def test_columns_of_numbers_alone_are_numbers_and_the_last_one_is_the_target(tmp_path: Path) -> None:
    data = load(tmp_path, HEADER + ROWS)
    assert [(entry.name, entry.datatype, entry.shape) for entry in data.inputs] == [
        (NUMBERS, "FP32", (-1, 1)), (CATEGORIES, "BYTES", (-1, 1)),
    ]  # fmt: skip
    assert data.classes == ("high", "low")
    assert data.rows.target.tolist() == [1, 0, 1, 0]
    numbers = data.rows.inputs[NUMBERS]
    assert numbers.dtype == np.float32
    assert np.array_equal(numbers[:, 0], [39, 50, np.nan, 28], equal_nan=True)
    assert data.rows.inputs[CATEGORIES][:, 0].tolist() == ["clerk", "", "farmer", "clerk"]
    assert len(clean(data, "error")[0].rows) == 4


def test_columns_can_be_named_and_left_out_and_a_number_can_be_a_category(tmp_path: Path) -> None:
    text = "zip,age,pay\n1000,39,low\n2000,50,high\n"
    data = load(tmp_path, text, categorical=("zip",), ignored=("age",))
    assert [entry.name for entry in data.inputs] == [CATEGORIES]
    assert data.rows.inputs[CATEGORIES].tolist() == [["1000"], ["2000"]]


def test_adults_own_form_has_no_header_spaces_full_stops_and_a_comment(tmp_path: Path) -> None:
    (tmp_path / "adult.data").write_text("39, clerk, low\n50, ?, high\n\n")
    (tmp_path / "adult.test").write_text("|1x3 Cross validator\n28, clerk, low.\n")
    columns = ("age", "job", "pay")
    data = Table(train=("train.csv", "adult.data"), test=("test.csv", "adult.test"), columns=columns).load(tmp_path)
    assert data.classes == ("high", "low")
    assert data.rows.target.tolist() == [1, 0, 1]
    assert (data.rows.part == TEST).tolist() == [False, False, True]


def test_gzip_a_byte_order_mark_another_delimiter_and_a_single_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "any.csv.gz"
    path.write_bytes(gzip.compress(("\ufeff" + (HEADER + ROWS).replace(",", ";")).encode()))
    data = Table(delimiter=";", target="age", task="regression", on_bad_rows="drop").load(path)
    assert data.classes == ()
    assert data.rows.target.dtype == np.float32
    assert data.rows.target.tolist() == [39, 50, 28]


@pytest.mark.parametrize(
    ("train", "fields", "message"),
    [
        (HEADER + ROWS, {"target": "income"}, r"train\.csv: has no column 'income' \(data\.target\)"),
        (HEADER + ROWS, {"numeric": ("height",)}, r"has no column 'height' \(data\.numeric\), its columns are 'age'"),
        (HEADER + ROWS + "40,clerk\n", {}, r"train\.csv, line 6: has 2 values, expected 3"),
        (HEADER + ROWS + "40,clerk,\n", {}, r"train\.csv, line 6: the target pay is '', expected one of 'high', 'low'"),
        (HEADER + ROWS, {"classes": ("low", "medium")}, r"the target 'pay' has the values 'high', 'low'"),
        (HEADER + ROWS, {"classes": ("low", "high", "none")}, "no row has class 'none'"),
        (HEADER + "39,clerk,low\n40,clerk,low\n", {}, "has the values 'low', expected two classes or more"),
        (HEADER + ROWS + "x,clerk,low\n", {"numeric": ("age",)}, r"line 6: age is 'x', expected a finite number"),
        (HEADER + ROWS + "inf,clerk,low\n", {}, r"line 6: age is 'inf', expected a finite number"),
        (HEADER + ROWS + "1e300,clerk,low\n", {}, r"line 6: age is '1e300', expected a finite number"),
        (HEADER + ROWS + "1_0,clerk,low\n", {"numeric": ("age",)}, r"line 6: age is '1_0', expected a finite number"),
        (HEADER + ROWS, {"target": "age", "task": "regression"}, r"line 4: the target age is '', expected a finite"),
        (HEADER.encode() + b"39,clerk,low\n40,cl\xe9rk,high\n", {}, r"train\.csv, line 3: is not UTF-8, byte 0xe9"),
        ("age,age,pay\n1,2,low\n", {}, "its columns need distinct names, 'age'"),
        (HEADER, {}, "has no rows below the names"),
        ("", {}, "has no line but empty ones"),
        (HEADER + '39,"clerk,low\n', {}, r"train\.csv, line 2: is not CSV"),
        (b"\x1f\x8b broken", {}, r"train\.csv: cannot be read"),
        ("pay\nlow\nhigh\n", {}, "has no column beside the target 'pay'"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    train: str | bytes, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        clean(load(tmp_path, train, **fields), "error")


def test_test_rows_need_the_same_columns_and_known_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test\.csv: has no column 'job' \(a categorical column of the training"):
        load(tmp_path, HEADER + ROWS, "age,pay\n3,low\n")
    with pytest.raises(DataError, match=r"test\.csv, line 3: the target pay is 'mid', expected one of 'high', 'low'"):
        load(tmp_path, HEADER + ROWS, HEADER + "1,clerk,low\n2,clerk,mid\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda folder: None, r"--data is missing, expected a folder with train\.csv"),
        (lambda folder: folder, r"has none of 'train\.csv' \(nor with \.gz\), which data\.train names"),
    ],
)
def test_a_folder_without_the_file_is_told(given: Callable[[Path], Path | None], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        Table().load(given(tmp_path))


def test_bad_rows_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    data = load(tmp_path, HEADER + ROWS + "40,clerk,maybe\n", classes=("low", "high"), on_bad_rows="drop")
    assert len(data.rows) == 4


def test_more_folds_than_rows_of_a_class_are_refused(tmp_path: Path) -> None:
    data = load(tmp_path, HEADER + ROWS * 3)
    with pytest.raises(DataError, match=r"class '\w+' has \d+ rows in the \w+ split"):
        split(data.rows, SplitSpec(test=0.2, fusion=0.2, golden=1, folds=9), 0, data.classes)


def test_categories_are_those_of_the_fit_rows_and_rare_ones_are_unknown(tmp_path: Path) -> None:
    body = "1,red,a,x\n" * 30 + "1,blue,a,y\n" * 20 + "2,odd,?,x\n" * 2
    source = Table(rare_below=5)
    data = load(tmp_path, "n,colour,letter,pay\n" + body, rare_below=5)
    parts = split(data.rows, SplitSpec(test=0.1, fusion=0.1, golden=1, folds=0), 3, data.classes)
    context = source.prepare(data, parts, 0).context
    words, places = context[WORDS].tolist(), context[PLACES]
    assert words == ["", "a", "blue", "red"]
    assert places.tolist() == [[0, 0, 2, 1, 0], [0, 1, 0, 0, 0]]
