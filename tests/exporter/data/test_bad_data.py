"""Data that cannot be trained on ends `tutti export` with one line before anything is trained; nothing is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.cli.export import main

RECIPE = """
name = "bad"
task = "classification"
[data]
source = "table"
[split]
folds = 2
[members.trees]
family = "tree"
[members.net]
family = "mlp"
[members.line]
family = "linear"
"""
HEADER = "age,job,income"
GOOD = [f"{20 + row % 50},{'cook' if row % 3 else 'pilot'},{'high' if row % 2 else 'low'}" for row in range(120)]


def export(folder: Path, content: bytes, *more: str) -> int:
    """The exit status for a training file of that content."""
    (folder / "bad.toml").write_text(RECIPE)
    (folder / "train.csv").write_bytes(content)
    words = [str(folder / "bad.toml"), "--data", str(folder), "--repository", str(folder / "models")]
    return main([*words, "--work", str(folder / "work"), "--workers", "1", *more])


def table(lines: list[str]) -> bytes:
    return "\n".join([HEADER, *lines]).encode()


def changed(row: int, line: str) -> list[str]:
    return [*GOOD[:row], line, *GOOD[row + 1 :]]


@pytest.mark.parametrize(
    ("content", "more", "messages"),
    [
        (table([line.replace("high", "low") for line in GOOD]), (), ["train.csv", "low"]),
        (table(GOOD[:4]), (), ["rows"]),
        (table(GOOD[:9]), (), ["rows", "nothing would be left to fit"]),
        (table([]), (), ["train.csv"]),
        (b"", (), ["train.csv"]),
        (table(changed(7, "33,cook")), (), ["train.csv", "9"]),
        (table(changed(7, "inf,cook,low")), (), ["train.csv", "9"]),
        (table(GOOD).replace(b"cook", b"c\xff\xfek", 1), (), ["train.csv"]),
        (table(GOOD), ("--set", "data.target=salary"), ["data.target", "salary"]),
        (table(GOOD), ("--set", 'data.classes=["low","middle","high"]'), ["middle"]),
        (table(changed(7, "33,cook,middle")), ("--set", 'data.classes=["low","high"]'), ["train.csv", "9", "middle"]),
        (table(GOOD), ("--set", "fusion.quorum=4"), ["fusion.quorum is 4, more than the 3 members"]),
        (table(GOOD), ("--set", "split.test=0.95"), ["split.test and split.fusion together"]),
    ],
    ids=["one class", "four rows", "nine rows", "a header alone", "nothing", "a missing column", "infinite",
         "not UTF-8", "no such target", "an empty class", "a wrong label", "more votes than members", "nothing to fit"],
)  # fmt: skip
def test_bad_data_is_named_in_one_line(
    content: bytes, more: tuple[str, ...], messages: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, content, *more) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert told[0].startswith("tutti export: ")
    for message in messages:
        assert message in told[0]
    assert not (tmp_path / "models").exists()
    assert not (tmp_path / "work").exists()
