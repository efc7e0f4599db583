"""Class names are taken as people have them, JSON of other tools included."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.cli.arguments import UsageError
from exporter.cli.class_names import read_classes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "ok\nfraud\n\n"),
        ("classes.txt", "\ufeffok\r\nfraud\r\n"),
        ("classes.json", '["ok", "fraud"]'),
        ("classes.txt", ' ["ok", "fraud"]\n'),
        ("classes.json", '{"0": "ok", "1": "fraud"}'),
        ("classes.json", '{"fraud": 1, "ok": 0}'),
        ("config.json", '{"model_type": "bert", "id2label": {"1": "fraud", "0": "ok"}, "pad_token_id": 0}'),
        ("config.json", '{"classes": ["ok", "fraud"]}'),
    ],
)
def test_names_are_read_from_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_classes(str(tmp_path / name)) == ("ok", "fraud")


def test_names_are_listed() -> None:
    assert read_classes("ok, fraud") == ("ok", "fraud")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("classes.json", "[", "is no JSON"),
        ("classes.json", "3", "holds no list of names"),
        ("classes.json", '{"model_type": "bert"}', "holds no list of names"),
        ("classes.json", "[[1], [2]]", "holds no list of names"),
        ("classes.json", '{"0": "ok", "7": "fraud"}', "holds no list of names"),
    ],
)
def test_json_without_names_is_told(tmp_path: Path, name: str, content: str, expected: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=expected):
        read_classes(str(tmp_path / name))


def test_a_pointer_to_a_file_is_no_list_of_three_classes(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
    (tmp_path / "classes.txt").write_text(pointer, encoding="utf-8")
    with pytest.raises(UsageError, match="is a pointer of Git LFS"):
        read_classes(str(tmp_path / "classes.txt"))


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no list A,B,C and no readable text file"):
        read_classes(str(tmp_path / "nothing.txt"))
