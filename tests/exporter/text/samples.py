"""Small labelled texts, English and Chinese, that a reader of words can tell apart; written as public data sets are."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Labelled = tuple[str, str]
"""Label and text."""

TOPICS = {
    "sport": ["team", "match", "goal", "season", "coach", "win", "league", "player", "score", "cup"],
    "market": ["stock", "price", "bank", "profit", "share", "trade", "market", "oil", "growth", "dollar"],
}
COMMON = ["the", "a", "of", "in", "on", "and", "after", "with", "new", "two"]
CHINESE = {"好评": "好喜欢精彩推荐值得棒", "差评": "差失望难看无聊浪费烂"}
CHINESE_COMMON = "这部电影的了很我看过剧情演员"


def english(rows: int, seed: int = 0) -> list[Labelled]:
    """News in two classes: about half of the words tell the topic."""
    random = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        label = list(TOPICS)[row % len(TOPICS)]
        words = [str(random.choice(TOPICS[label] if random.random() < 0.5 else COMMON)) for _ in range(6 + row % 9)]
        found.append((label, f"{' '.join(words)} {row}."))
    return found


def chinese(rows: int, seed: int = 0) -> list[Labelled]:
    """Reviews without spaces in two classes."""
    random = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        label = list(CHINESE)[row % len(CHINESE)]
        characters = [
            str(random.choice(list(CHINESE[label]) if random.random() < 0.5 else list(CHINESE_COMMON)))
            for _ in range(8 + row % 7)
        ]
        found.append((label, "".join(characters) + "。"))
    return found


def write_csv(path: Path, rows: Sequence[Labelled]) -> None:
    """With columns label and text, gzipped where the name says so."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["label", "text"])
    writer.writerows(rows)
    _write(path, stream.getvalue())


def write_tsv(path: Path, rows: Sequence[Labelled]) -> None:
    """With columns sentence and label."""
    _write(path, "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for label, text in rows))


def write_jsonl(path: Path, rows: Sequence[Labelled]) -> None:
    """One object a line."""
    _write(path, "".join(json.dumps({"label": label, "text": text}) + "\n" for label, text in rows))


def write_folders(folder: Path, rows: Sequence[Labelled]) -> None:
    """A folder for each label, a .txt file for each text."""
    for number, (label, text) in enumerate(rows):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{number:04}.txt").write_text(text, encoding="utf-8")


def _write(path: Path, content: str) -> None:
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
