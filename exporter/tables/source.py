"""Tables of mixed columns: numbers that may be missing, and categories; from any CSV with a target."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from exporter.data.dataset import FREE, TEST, Array, Dataset, Rows
from exporter.data.delimited import Delimited, find, listed, number, read_delimited
from exporter.data.labels import LabelColumns, Tags, labels_of
from exporter.data.source import Domain, Source
from exporter.data.splits import Split
from exporter.errors import DataError
from model_repo import Input

NUMBERS, CATEGORIES = "numbers", "categories"
"""The ensemble's inputs: FP32 [-1, N] and BYTES [-1, M], each with its columns in the order of the table."""

LARGEST = 1e29
"""Numbers of a table are smaller than this: their squares are floats too."""

WORDS, PLACES = "words", "places"
"""In the context: every known category, str [W], the empty string first; and int64 [M, W + 1], the place of each word
in each column and at the end that of an unknown one. Place 0 is that of all that is missing, unknown or rare."""


class Table(Source, frozen=True, kw_only=True, tag="table"):
    """A CSV (or CSV.gz) with one row per case; the test rows are a file of their own or a share."""

    domain: ClassVar[Domain] = "table"

    train: tuple[str, ...] = ("train.csv",)
    """File names in the data folder; the first that is there, as it is or with `.gz`."""
    test: tuple[str, ...] = ()
    """The same for test rows; none: `split.test` of the rows."""
    columns: tuple[str, ...] = ()
    """Names of all columns, where the files have no line with names."""
    target: str = ""
    """The column to predict; empty: the last one."""
    task: Literal["classification", "multilabel", "regression"] = "classification"
    classes: tuple[str, ...] = ()
    """The target's values in the order of the answer; none: those of the training file, sorted."""
    labels: tuple[str, ...] = ()
    """Of a multilabel: columns of 0 and 1, one for each label."""
    separator: str = ""
    """Of a multilabel without `labels`: what stands between the tags in the target column."""
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    """What is named in neither is numeric when all its values in the training file are numbers."""
    ignored: tuple[str, ...] = ()
    """Columns that are left out."""
    missing: tuple[str, ...] = ("", "?", "NA", "N/A", "NaN", "nan", "null")
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    rare_below: Annotated[int, Meta(ge=1)] = 10
    """Categories with fewer fit rows than this are treated as unknown ones."""
    max_categories: Annotated[int, Meta(ge=1)] = 1000
    """The most frequent of a column are known, the others are treated as unknown ones."""

    def load(self, folder: Path | None) -> Dataset:
        """The training rows, then the test rows. Raises DataError naming file and line."""
        if self.test and folder is not None and folder.is_file():
            raise DataError(f"{folder}: is one file, but data.test names another; set data.test=[] to split it")
        train = read_delimited(find(folder, self.train, "data.train"), self.columns, self.delimiter)
        files = [train]
        if self.test:
            files.append(read_delimited(find(folder, self.test, "data.test"), self.columns, self.delimiter))
        schema = self._schema(train)
        parts = [self._rows(file, schema, TEST if place else FREE) for place, file in enumerate(files)]
        rows = Rows.of(
            {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
            np.concatenate([part.target for part in parts]),
            np.concatenate([part.part for part in parts]),
        )
        return Dataset(
            rows=rows,
            classes=schema.classes,
            inputs=schema.inputs,
            edges=_edges(schema),
            task=self.task,
            unique=False,  # two people may have the same age and job
            may_miss=frozenset({NUMBERS}),
        )

    def prepare(self, dataset: Dataset, split: Split, seed: int) -> Dataset:
        """With the categories of the fit rows in the context."""
        if CATEGORIES not in dataset.rows.inputs:
            return dataset
        known = [self._known(column) for column in dataset.rows.inputs[CATEGORIES][split.fit].T]
        return replace(dataset, context={**dataset.context, **_vocabulary(known)})

    def _known(self, column: Array) -> list[str]:
        """The column's words, most frequent first, without the empty one."""
        counts = Counter(word for word in column.tolist() if word)
        often = sorted((-count, word) for word, count in counts.items() if count >= self.rare_below)
        return [word for _, word in often[: self.max_categories]]

    def _schema(self, train: Delimited) -> Schema:
        missing = frozenset(self.missing)
        labels: LabelColumns | Tags | None = None
        if self.task == "multilabel":
            labels = labels_of(train, self.labels, self.target, self.separator, missing, self.classes)
        elif self.labels or self.separator:
            raise DataError(f'data.labels and data.separator are of data.task = "multilabel", it is {self.task!r}')
        target = self.target or train.columns[-1]
        targets = (target,) if labels is None else labels.columns
        train.place(targets[0], "data.target")
        for setting in ("numeric", "categorical", "ignored"):
            for name in getattr(self, setting):
                train.place(name, f"data.{setting}")
        both = sorted(set(self.numeric) & set(self.categorical))
        if both:
            raise DataError(f"data.numeric and data.categorical both name {listed(both)}")
        left = [name for name in train.columns if name not in targets and name not in self.ignored]
        if not left:
            raise DataError(f"{train.name}: has no column beside the target {listed(targets)}")
        numeric = [name for name in left if self._is_numeric(train, name)]
        classes = self._classes(train, target) if self.task == "classification" else ()
        classes = classes if labels is None else labels.names
        return Schema(target, tuple(numeric), tuple(name for name in left if name not in numeric), classes, labels)

    def _is_numeric(self, train: Delimited, name: str) -> bool:
        if name in self.numeric or name in self.categorical:
            return name in self.numeric
        place = train.columns.index(name)
        given = [cells[place] for cells in train.cells if cells[place] not in self.missing]
        return bool(given) and all(number(cell) is not None for cell in given)

    def _classes(self, train: Delimited, target: str) -> tuple[str, ...]:
        place = train.columns.index(target)
        found = {cells[place] for cells in train.cells} - set(self.missing)
        classes = self.classes or tuple(sorted(found))
        if len(found & set(classes)) < 2:
            only = listed(sorted(found)) or "none"
            raise DataError(f"{train.name}: the target {target!r} has the values {only}, expected two classes or more")
        return classes

    def _rows(self, file: Delimited, schema: Schema, part: int) -> Rows:
        """The file's rows as arrays; bad ones raise or are left out."""
        good, target = [], []
        for row, found in enumerate(self._checked(file, schema)):
            if isinstance(found, str):
                if self.on_bad_rows == "error":
                    raise DataError(file.at(row, found))
                continue
            good.append(row)
            target.append(found)
        cells = [file.cells[row] for row in good]
        inputs: dict[str, Array] = {}
        if schema.numeric:
            inputs[NUMBERS] = self._numbers(cells, [file.columns.index(name) for name in schema.numeric])
        if schema.categorical:
            inputs[CATEGORIES] = self._strings(cells, [file.columns.index(name) for name in schema.categorical])
        kind = np.int64 if schema.classes else np.float32
        return Rows.of(inputs, np.array(target, dtype=kind), np.full(len(good), part, dtype=np.int8))

    def _checked(self, file: Delimited, schema: Schema) -> Iterator[float | list[int] | str]:
        """Each row's target (of labels 0 or 1 for each), or what is wrong with the row."""
        labels = schema.labels
        place = 0 if labels else file.place(schema.target, "data.target")
        numeric = [(name, file.place(name, "a numeric column of the training file")) for name in schema.numeric]
        for name in schema.categorical:
            file.place(name, "a categorical column of the training file")
        for cells in file.cells:
            wrong = next((name for name, at in numeric if not self._is_number(cells[at])), None)
            if wrong is not None:
                yield f"{wrong} is {cells[file.columns.index(wrong)]!r}, expected a finite number or nothing"
            elif labels is not None:
                yield labels.read(file, cells)
            else:
                yield self._target(cells[place], schema)

    def _is_number(self, cell: str) -> bool:
        found = number(cell)
        return cell in self.missing or (found is not None and abs(found) < LARGEST)

    def _target(self, cell: str, schema: Schema) -> float | str:
        if not schema.classes:
            found = number(cell)
            if found is None or not abs(found) < LARGEST:
                return f"the target {schema.target} is {cell!r}, expected a finite number"
            return found
        for label in (cell, cell.removesuffix(".")):  # adult.test ends its labels with a full stop
            if label in schema.classes:
                return schema.classes.index(label)
        return f"the target {schema.target} is {cell!r}, expected one of {listed(schema.classes)}"

    def _numbers(self, cells: Sequence[Sequence[str]], places: Sequence[int]) -> NDArray[np.float32]:
        values = [[math.nan if row[place] in self.missing else float(row[place]) for place in places] for row in cells]
        return np.array(values, dtype=np.float32).reshape(len(cells), len(places))

    def _strings(self, cells: Sequence[Sequence[str]], places: Sequence[int]) -> Array:
        values = [["" if row[place] in self.missing else row[place] for place in places] for row in cells]
        return np.array(values, dtype=np.object_).reshape(len(cells), len(places))


@dataclass(frozen=True)
class Schema:
    """Which columns are what."""

    target: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    classes: tuple[str, ...]
    labels: LabelColumns | Tags | None = None
    """Of a multilabel: where they stand."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """As the manifest declares them."""
        numbers = Input(name=NUMBERS, datatype="FP32", shape=(-1, len(self.numeric)), missing="nan")
        categories = Input(name=CATEGORIES, datatype="BYTES", shape=(-1, len(self.categorical)))
        return tuple(entry for entry in (numbers, categories) if entry.shape[1])


def _edges(schema: Schema) -> dict[str, Array]:
    """All missing, zeros, and very large and very small numbers; categories that nobody has seen."""
    numbers = [math.nan, -0.0, 0.0, 1e9, -1e9]
    strings = ["", "?", "never seen", "é" * 300, " "]
    edges: dict[str, Array] = {}
    if schema.numeric:
        edges[NUMBERS] = np.repeat(np.array(numbers, dtype=np.float32)[:, None], len(schema.numeric), axis=1)
    if schema.categorical:
        edges[CATEGORIES] = np.repeat(np.array(strings, dtype=np.object_)[:, None], len(schema.categorical), axis=1)
    return edges


def _vocabulary(known: Sequence[Sequence[str]]) -> Mapping[str, Array]:
    words = ["", *sorted({word for column in known for word in column})]
    places = np.zeros((len(known), len(words) + 1), dtype=np.int64)
    index = {word: place for place, word in enumerate(words)}
    for column, its in enumerate(known):
        for place, word in enumerate(its, start=1):
            places[column, index[word]] = place
    return {WORDS: np.array(words, dtype=np.str_), PLACES: places}
