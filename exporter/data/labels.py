"""Labels of a table's rows that do not exclude each other: a column of 0 and 1 for each, or one column of tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.data.delimited import Delimited, listed
from exporter.errors import DataError

LEAST = 2
"""Labels of a data set: one alone is a class against its absence, and a classification says it better."""

_TRUE, _FALSE = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})
"""What a cell of a label's column may be, in any case."""


@dataclass(frozen=True)
class LabelColumns:
    """One column for each label."""

    names: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are no features."""
        return self.names

    def read(self, file: Delimited, cells: Sequence[str]) -> list[int] | str:
        """0 or 1 for each label, or what is wrong with the row."""
        found = []
        for name in self.names:
            cell = cells[file.place(name, "data.labels")].lower()
            if cell not in _TRUE and cell not in _FALSE:
                return f"the label {name} is {cell!r}, expected 0 or 1 (or no, yes, false, true)"
            found.append(int(cell in _TRUE))
        return found


@dataclass(frozen=True)
class Tags:
    """One column that lists the labels that hold: `red|large`; empty where none does."""

    names: tuple[str, ...]
    column: str
    separator: str
    missing: frozenset[str]
    chosen: bool
    """The recipe names the labels: other tags are left out."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are no features."""
        return (self.column,)

    def read(self, file: Delimited, cells: Sequence[str]) -> list[int] | str:
        """0 or 1 for each label, or what is wrong with the row."""
        found = tags_of(cells[file.place(self.column, "data.target")], self.separator, self.missing)
        if not self.chosen and (strange := sorted(found - set(self.names))):
            return f"the tag {strange[0]!r} is none of the training file's: {listed(self.names)}"
        return [int(name in found) for name in self.names]


def tags_of(cell: str, separator: str, missing: frozenset[str]) -> set[str]:
    """The tags of a cell, without the spaces around them; none of one that stands for nothing."""
    if cell in missing:
        return set()
    return {tag for part in cell.split(separator) if (tag := part.strip())}


def labels_of(
    train: Delimited,
    labels: Sequence[str],
    target: str,
    separator: str,
    missing: frozenset[str],
    classes: Sequence[str],
) -> LabelColumns | Tags:
    """How the labels stand in the file, their names in the order of the answer.

    `labels` are columns, or `target` and `separator` say where the tags are; of these `classes` are taken, or all
    that occur, sorted. Raises DataError where both or neither is said, or where a label always or never holds.
    """
    if bool(labels) == bool(separator):
        given = "both are" if labels else "neither is"
        raise DataError(
            f"{given} set: a multilabel table has data.labels (a column of 0 and 1 for each) or data.separator (of the "
            'tags in the column data.target), as in data.labels = ["red", "large"] or data.separator = "|"'
        )
    if labels and (classes or target):
        raise DataError("data.labels names the columns and the labels: data.target and data.classes have no effect")
    found: LabelColumns | Tags = LabelColumns(tuple(labels))
    if separator:
        column = target or train.columns[-1]
        place = train.place(column, "data.target")
        known = {tag for cells in train.cells for tag in tags_of(cells[place], separator, missing)}
        found = Tags(tuple(classes) or tuple(sorted(known)), column, separator, missing, bool(classes))
    for column in found.columns:
        train.place(column, "data.labels")
    _require(train, found)
    return found


def _require(train: Delimited, labels: LabelColumns | Tags) -> None:
    names = labels.names
    if len(names) < LEAST or len(set(names)) < len(names):
        raise DataError(f"{train.name}: the labels are {listed(names) or 'none'}, expected two different ones or more")
    rows = [read for cells in train.cells if isinstance(read := labels.read(train, cells), list)]
    for place, name in enumerate(names):
        holds = sum(row[place] for row in rows)
        if holds in (0, len(rows)) and rows:
            told = "always" if holds else "never"
            raise DataError(f"{train.name}: the label {name!r} {told} holds, so that there is nothing to learn of it")
