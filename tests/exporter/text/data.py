"""A prepared data set of small texts, and how a member is set up for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.data.splits import SplitSpec
from exporter.members.base import Setting
from exporter.recipe.sources import Dataset, Rows, clean, split
from exporter.text.source import Texts
from exporter.text.vocabulary import TokenizerSpec, Windows
from tests.exporter.text.samples import english, write_csv

TOKENS = TokenizerSpec(vocabulary=150, max_tokens=16)
WINDOWS = TokenizerSpec(vocabulary=150, max_tokens=8, windows=Windows(stride=6, most=3))


@dataclass(frozen=True)
class Prepared:
    """`fit` and `held` rows of `dataset`; `setting` is what members are trained for."""

    dataset: Dataset
    fit: Rows
    held: Rows

    def setting(self, seed: int = 1) -> Setting:
        """For one member."""
        dataset = self.dataset
        return Setting(dataset.tensors, dataset.ranges, dataset.columns, seed, "cpu", dataset.context, dataset.task)


def prepared(folder: Path, rows: int = 240) -> Prepared:
    """News in two classes, with ids in a row as `tokens` and in windows as `windows`."""
    write_csv(folder / "train.csv", english(rows))
    source = Texts(tokenizers={"tokens": TOKENS, "windows": WINDOWS})
    dataset, _ = clean(source.load(folder), "error")
    parts = split(dataset.rows, SplitSpec(folds=0, golden=4), 0, dataset.classes)
    dataset = source.prepare(dataset, parts, 0)
    return Prepared(dataset, dataset.rows.take(parts.fit), dataset.rows.take(parts.test))
