"""Texts and documents with one label each: AG News, SST-2, IMDB, and anybody's files in the same forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from exporter.data.dataset import FREE, FUSION, TEST, Array, Dataset, Rows
from exporter.data.source import Domain, Source
from exporter.data.splits import Split, allocate
from exporter.errors import DataError
from exporter.text.text_files import Columns, Text, first_of, read_texts
from exporter.text.vectors import token_vectors
from exporter.text.vocabulary import TokenizerSpec, Windows, context_of, encoder_of, tensor_of, trained
from exporter.threads import blas_on_one_thread
from model_repo import Input, TextInput
from model_repo.format.manifest import Name

INPUT = "text"
VECTOR_SIZE = 128
"""Numbers of the vectors that networks begin with; those of smaller ones are the first of them."""
_SHOWN = 8
_EDGES = ("", " ", "the", "[PAD] [UNK]", "\u597d", "zq" * 300, "a " * 5000, "\x00\u200d\U0001f600 \ufffd")
"""Nothing, one word, unknown ones, one far too long, one that fills every window."""


class Texts(Source, frozen=True, kw_only=True, tag="texts"):
    """Labelled texts: files or folders below `--data`, and the tokenizers that are learned from the fit rows.

    Clients send `text`: BYTES [n].
    """

    domain: ClassVar[Domain] = "text"

    train: tuple[str, ...] = ("train.csv", "train.csv.gz", "train.tsv", "train.jsonl", "train.jsonl.gz", "train")
    """Names of the file or folder; the first that there is."""
    validation: tuple[str, ...] = ()
    """Rows for the fusion alone; without them a part of the others is split off."""
    test: tuple[str, ...] = ()
    """Rows of the test; without them a part of the others is split off."""
    text: str = "text"
    label: str = "label"
    """Columns; a folder's label is its name."""
    columns: tuple[str, ...] = ()
    """All columns of CSV and TSV files that do not name them in their first line."""
    classes: tuple[str, ...] = ()
    """In the order of the answer; none: every label there is in the training rows, sorted."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    """Label → class, where they are not the same."""
    ignored: tuple[str, ...] = ()
    """Labels whose rows are left out: `unsup`."""
    train_rows: Annotated[int, Meta(ge=0)] = 0
    test_rows: Annotated[int, Meta(ge=0)] = 0
    """So many of each, drawn with equal class shares; 0: all."""
    max_chars: Annotated[int, Meta(ge=1)] = 1_000_000
    """Characters of a text/plain body that the server takes."""
    tokenizers: dict[Name, TokenizerSpec] = msgspec.field(default_factory=lambda: {"tokens": TokenizerSpec()})
    """What members may take, by the names that they take it by."""

    def load(self, folder: Path | None) -> Dataset:
        """All texts. Raises DataError naming file and row."""
        if folder is None:
            raise DataError(f"--data is missing: expected the folder of {self.train[0]}")
        if not folder.is_dir():
            raise DataError(f"--data is {str(folder)!r}, expected a folder with {self.train[0]}")
        found: list[tuple[int, list[Text]]] = []
        for part, names, most in (
            (FREE, self.train, self.train_rows), (FUSION, self.validation, 0), (TEST, self.test, self.test_rows),
        ):  # fmt: skip
            if names:
                path = first_of(folder, names, {FREE: "training", FUSION: "validation", TEST: "test"}[part])
                found.append((part, self._drawn(self._read(path), most, path)))
        classes = self.classes or tuple(sorted({self._class(entry) for entry in found[0][1]}))
        return self._dataset(found, classes)

    def prepare(self, dataset: Dataset, split: Split, seed: int) -> Dataset:
        """With tokenizers learned from the fit rows, and the ids that they make of all rows."""
        texts = dataset.rows.inputs[INPUT]
        fit = texts[split.fit].tolist()
        files = [trained(name, INPUT, spec, fit) for name, spec in self.tokenizers.items()]
        inputs: dict[str, Array] = {INPUT: texts}
        edges: dict[str, Array] = {INPUT: _strings(_EDGES)}
        context: dict[str, Array] = {}
        for file in files:
            name, encode = tensor_of(file).name, encoder_of(file)
            ids = encode([*texts.tolist(), *_EDGES])  # together, so that both are filled up to one length
            inputs[name], edges[name] = ids[: len(texts)], ids[len(texts) :]
            context |= context_of(file)
            stretches = ids[split.fit].reshape(-1, ids.shape[-1])
            size = int(context[f"{name}.vocabulary"])
            with blas_on_one_thread():  # the last bits, and with them the data's digest, would hang on the cores
                context[f"{name}.vectors"] = token_vectors(stretches, size, VECTOR_SIZE, seed)
        return replace(
            dataset,
            rows=replace(dataset.rows, inputs=inputs),
            edges=edges,
            derived=tuple(tensor_of(file) for file in files),
            tokenizers=tuple(files),
            context=context,
        )

    def _read(self, path: Path) -> list[Text]:
        """The texts that are kept. Raises DataError for an empty one, unless bad rows are dropped."""
        kept = []
        for entry in read_texts(path, Columns(self.text, self.label, self.columns)):
            if entry.label in self.ignored:
                continue
            if not entry.text.strip():
                if self.on_bad_rows == "drop":
                    continue
                raise DataError(f"{entry.where}: the text is empty")
            kept.append(entry)
        if not kept:
            raise DataError(f"{path.name}: holds no texts")
        return kept

    def _class(self, entry: Text) -> str:
        return self.labels.get(entry.label, entry.label)

    def _drawn(self, texts: list[Text], most: int, path: Path) -> list[Text]:
        """`most` of the texts with each class in its proportion, in their order."""
        if not most or most >= len(texts):
            return texts
        rng = np.random.default_rng([most, len(texts)])
        names, labels = np.unique([self._class(entry) for entry in texts], return_inverse=True)
        pools = [rng.permutation(np.flatnonzero(labels == place)) for place in range(len(names))]
        counts = allocate([len(pool) for pool in pools], most, path.name)
        index = np.sort(np.concatenate([pool[:count] for pool, count in zip(pools, counts, strict=True)]))
        return [texts[place] for place in index.tolist()]

    def _dataset(self, found: Sequence[tuple[int, list[Text]]], classes: tuple[str, ...]) -> Dataset:
        places = {name: place for place, name in enumerate(classes)}
        texts, targets, parts = [], [], []
        for part, entries in found:
            for entry in entries:
                place = places.get(self._class(entry), -1)
                if place < 0:
                    if self.on_bad_rows == "drop":
                        continue
                    known = ", ".join(map(repr, (self.labels or places)))
                    raise DataError(f"{entry.where}: label is {entry.label!r}, expected one of {known}")
                texts.append(entry.text)
                targets.append(place)
                parts.append(part)
        self._require_classes(np.array(targets), np.array(parts), classes)
        rows = Rows.of({INPUT: _strings(texts)}, np.array(targets, dtype=np.int64), np.array(parts, dtype=np.int8))
        declared = Input(name=INPUT, datatype="BYTES", shape=(-1,), text=TextInput(max_chars=self.max_chars))
        return Dataset(rows=rows, classes=classes, inputs=(declared,))

    def _require_classes(self, targets: NDArray[np.int64], parts: NDArray[np.int8], classes: Sequence[str]) -> None:
        if len(classes) < 2:
            raise DataError(f"{self.train[0]}: all rows have label {classes[0]!r}, expected two classes or more")
        for part, named in ((FREE, "training"), (FUSION, "validation"), (TEST, "test")):
            if not (parts == part).any():
                continue
            counts = np.bincount(targets[parts == part], minlength=len(classes))
            if empty := [name for name, count in zip(classes, counts, strict=True) if not count]:
                raise DataError(f"no {named} row has class {', '.join(map(repr, empty[:_SHOWN]))}")


class AgNews(Texts, frozen=True, kw_only=True, tag="ag_news"):
    """Topics of news items in four classes (Zhang, Zhao, LeCun 2015)."""

    train: tuple[str, ...] = ("train.csv.gz", "train.csv", "train.jsonl")
    test: tuple[str, ...] = ("test_6600.csv.gz", "test.csv.gz", "test.csv", "test.jsonl")
    classes: tuple[str, ...] = ("World", "Sports", "Business", "Sci/Tech")
    labels: dict[str, str] = msgspec.field(
        default_factory=lambda: {"0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech"}
    )


class Sst2(Texts, frozen=True, kw_only=True, tag="sst2"):
    """Sentiment of sentences from film reviews (Socher et al. 2013)."""

    train: tuple[str, ...] = ("train.csv.gz", "train.tsv", "train.csv")
    validation: tuple[str, ...] = ("dev.csv.gz", "dev.tsv", "dev.csv")
    test: tuple[str, ...] = ("test.csv.gz", "test.tsv", "test.csv")
    classes: tuple[str, ...] = ("negative", "positive")
    labels: dict[str, str] = msgspec.field(default_factory=lambda: {"0": "negative", "1": "positive"})


class Imdb(Texts, frozen=True, kw_only=True, tag="imdb"):
    """Sentiment of film reviews, long documents (Maas et al. 2011): the archive's folders, or JSON lines."""

    train: tuple[str, ...] = ("train_20000.jsonl.gz", "train.jsonl.gz", "train.jsonl", "train")
    test: tuple[str, ...] = ("test_10000.jsonl.gz", "test.jsonl.gz", "test.jsonl", "test")
    classes: tuple[str, ...] = ("negative", "positive")
    labels: dict[str, str] = msgspec.field(
        default_factory=lambda: {"0": "negative", "1": "positive", "neg": "negative", "pos": "positive"}
    )
    ignored: tuple[str, ...] = ("unsup",)
    tokenizers: dict[Name, TokenizerSpec] = msgspec.field(
        default_factory=lambda: {"tokens": TokenizerSpec(max_tokens=128, windows=Windows(stride=112, most=6))}
    )


def _strings(texts: Sequence[str]) -> Array:
    array = np.empty(len(texts), dtype=np.object_)
    array[:] = texts
    return array
