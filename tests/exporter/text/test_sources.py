"""Texts are read in the forms in which they are published; what is wrong is named with file and row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from exporter.data.dataset import FREE, FUSION, TEST
from exporter.errors import DataError
from exporter.text.source import AgNews, Imdb, Sst2, Texts
from tests.exporter.text.samples import Labelled, chinese, english, write_csv, write_folders, write_jsonl, write_tsv

FORMS: list[tuple[str, Callable[[Path, Sequence[Labelled]], None]]] = [
    ("train.csv", write_csv), ("train.csv.gz", write_csv), ("train.jsonl", write_jsonl),
    ("train.jsonl.gz", write_jsonl), ("train", write_folders),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write"), FORMS, ids=[name for name, _ in FORMS])
def test_the_same_texts_are_read_from_every_form(
    tmp_path: Path, name: str, write: Callable[[Path, Sequence[Labelled]], None]
) -> None:
    rows = [*english(8), *chinese(4), ("sport", 'quoted "words", and\na new line')]
    write(tmp_path / name, rows)
    dataset = Texts().load(tmp_path)
    found = {(dataset.classes[label], text) for label, text in zip(dataset.rows.target, dataset.rows.inputs["text"])}  # noqa: B905
    assert found == set(rows)
    assert dataset.classes == ("market", "sport", "好评", "差评") or set(dataset.classes) == {
        label for label, _ in rows
    }
    (declared,) = dataset.inputs
    assert (declared.name, declared.datatype, declared.shape) == ("text", "BYTES", (-1,))
    assert declared.text is not None


def test_named_columns_and_columns_without_names(tmp_path: Path) -> None:
    write_tsv(tmp_path / "train.tsv", english(6))
    named = Texts(text="sentence").load(tmp_path)
    assert len(named.rows) == 6
    (tmp_path / "news.csv").write_text('"3","Title","Wall St."\n"4","Other","Chips"\n', encoding="utf-8")
    bare = Texts(
        train=("news.csv",), columns=("topic", "title", "body"), text="body", label="topic",
        classes=("Business", "Tech"), labels={"3": "Business", "4": "Tech"},
    ).load(tmp_path)  # fmt: skip
    assert bare.rows.inputs["text"].tolist() == ["Wall St.", "Chips"]
    assert bare.rows.target.tolist() == [0, 1]


def test_the_splits_of_a_data_set_stay(tmp_path: Path) -> None:
    rows = [(str(row % 2), text) for row, (_, text) in enumerate(english(18))]
    for name, part in (("train.csv", rows[:8]), ("dev.csv", rows[8:12]), ("test.csv", rows[12:])):
        write_csv(tmp_path / name, part)
    dataset = Sst2().load(tmp_path)
    assert np.bincount(dataset.rows.part).tolist() == [8, 6, 4]
    assert (dataset.rows.part[8:12] == FUSION).all()
    assert (dataset.rows.part[12:] == TEST).all()
    assert dataset.classes == ("negative", "positive")


def test_the_archive_of_imdb_and_its_json_lines_are_the_same_classes(tmp_path: Path) -> None:
    rows = [("neg" if row % 2 else "pos", text) for row, (_, text) in enumerate(english(6))]
    for part in ("train", "test"):
        write_folders(tmp_path / "aclImdb" / part, [*rows, ("unsup", "nobody knows")])
        write_jsonl(tmp_path / f"{part}.jsonl", [("1" if label == "pos" else "0", text) for label, text in rows])
    folders, lines = Imdb().load(tmp_path / "aclImdb"), Imdb().load(tmp_path)
    for dataset in (folders, lines):
        assert dataset.classes == ("negative", "positive")
        assert np.bincount(dataset.rows.target).tolist() == [6, 6]
    assert (folders.rows.part == TEST).sum() == 6


def test_rows_are_drawn_with_equal_shares_and_the_same_ones_again(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [*english(60), *[("sport", f"only sport {row}") for row in range(30)]])
    first, again = (Texts(train_rows=30).load(tmp_path) for _ in range(2))
    assert first.digest == again.digest
    assert np.bincount(first.rows.target).tolist() == [10, 20]
    assert (first.rows.part == FREE).all()


BROKEN: list[tuple[str, bytes, str]] = [
    ("train.csv", b"topic,text\na,b\n", r"^train\.csv: has no column 'label'; its columns are topic, text$"),
    ("train.csv", b"", r"^train\.csv: has no column 'text'; its columns are none$"),
    ("train.csv", b"label,text\na,good\nb\n", r"^train\.csv: row 2 \(line 3\) has 1 columns, expected 2: label, text$"),
    ("train.csv", b"label,text\na,good\nb,\xff\xfe\n", r"^train\.csv: line 3 is not UTF-8 \(byte 20\)$"),
    ("train.csv", b"label,text\na,good\nb,  \n", r"^train\.csv: row 2 \(line 3\): the text is empty$"),
    ("train.csv", b"label,text\n", r"^train\.csv: holds no texts$"),
    ("train.csv", b"label,text\na,good\na,bad\n", r"^train\.csv: all rows have label 'a', expected two classes"),
    ("train.jsonl", b'{"label": 1, "text": "x"}\n{"text": "y"}\n',
     r"^train\.jsonl: line 2 has no column 'label'; it has text$"),
    ("train.jsonl", b'{"label": 1, "text": 7}\n', r"^train\.jsonl: line 1: column 'text' is int, expected a string$"),
    ("train.jsonl", b"[1]\n", r"^train\.jsonl: line 1 is no JSON object: "),
    ("train.jsonl", b'{"label": 1, "text": "x"\n', r"^train\.jsonl: line 1 is no JSON object: "),
    ("train.csv.gz", b"not gzip", r"^train\.csv\.gz: cannot be read: "),
    ("train.txt", b"x", r"holds none of train\.csv, .*, train, expected the training rows there$"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_a_broken_file_is_named_with_its_row(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        Texts().load(tmp_path)


def test_a_wrong_label_and_an_empty_class_are_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [("World", "a"), ("Sports", "b"), ("2", "c"), ("9", "d")])
    write_csv(tmp_path / "test.csv", [("0", "a"), ("1", "b"), ("2", "c"), ("3", "d")])
    with pytest.raises(
        DataError, match=r"^train\.csv: row 4 \(line 5\): label is '9', expected one of '0', '1', '2', '3'"
    ):
        AgNews().load(tmp_path)
    write_csv(tmp_path / "train.csv", [("World", "a"), ("Sports", "b"), ("2", "c")])
    with pytest.raises(DataError, match=r"^no training row has class 'Sci/Tech'$"):
        AgNews().load(tmp_path)
    with pytest.raises(DataError, match=r"^no training row has class 'Sci/Tech'$"):
        AgNews(on_bad_rows="drop").load(tmp_path)


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [("a", "x"), ("b", "y"), ("a", " "), ("c", "z")])
    dataset = Texts(on_bad_rows="drop", classes=("a", "b")).load(tmp_path)
    assert dataset.rows.inputs["text"].tolist() == ["x", "y"]


def test_a_text_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path / "train", english(4))
    (tmp_path / "train" / "sport" / "bad.txt").write_bytes(b"one\ntwo \xe9")
    with pytest.raises(DataError, match=r"^train/sport/bad\.txt: line 2 is not UTF-8 \(byte 8\)$"):
        Texts().load(tmp_path)


def test_a_folder_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^--data is missing: expected the folder of train\.csv$"):
        Texts().load(None)
    with pytest.raises(DataError, match=r"expected a folder with train\.csv"):
        Texts().load(tmp_path / "nowhere")
