"""Labelled texts in files: CSV, TSV or JSON lines with named columns, or a folder of .txt files for each label."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from exporter.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl")
_LONGEST_FIELD = 1 << 28
"""Characters of one CSV field; Python's own limit, 131,072, is less than a long document."""


@dataclass(frozen=True, slots=True)
class Text:
    """One labelled text; `where` names its file and row in messages."""

    text: str
    label: str
    where: str


@dataclass(frozen=True)
class Columns:
    """Which columns hold text and label; `names` are those of a CSV or TSV file without a first line that does."""

    text: str
    label: str
    names: tuple[str, ...] = ()


def read_texts(path: Path, columns: Columns) -> Iterator[Text]:
    """The texts of a file, plain or gzipped, or of a folder with one folder of .txt files for each label.

    Raises DataError naming file and row where a column is missing, a row is short, or bytes are not UTF-8.
    """
    if path.is_dir():
        return _from_folders(path)
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return _from_lines(path, columns)
    if name.endswith((".csv", ".tsv")):
        return _from_table(path, columns, "\t" if name.endswith(".tsv") else ",")
    raise DataError(f"{path.name}: expected a folder or a file ending in {', '.join(SUFFIXES)}, perhaps with .gz")


def first_of(folder: Path, names: Sequence[str], part: str) -> Path:
    """The first of `names` that there is in the folder. Raises DataError naming all of them."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise DataError(f"{folder.name}: holds none of {', '.join(names)}, expected the {part} rows there")


def _from_folders(folder: Path) -> Iterator[Text]:
    """Sorted by name, so that the rows are the same on every machine."""
    labels = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    if not labels:
        raise DataError(f"{folder.name}: holds no folders, expected one for each label")
    for label in labels:
        for file in sorted(label.glob("*.txt")):
            where = f"{folder.name}/{label.name}/{file.name}"
            yield Text(_decoded(file.read_bytes(), where), label.name, where)


def _from_table(path: Path, columns: Columns, delimiter: str) -> Iterator[Text]:
    csv.field_size_limit(_LONGEST_FIELD)
    lines = io.StringIO(_content(path), newline="")
    if delimiter == "\t":  # as data sets have them: no quotes, no tabs inside
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=delimiter)
    rows = _rows(reader, path)
    names: Sequence[str] = columns.names or next(rows, (0, []))[1]
    text, label = (_place(column, names, path) for column in (columns.text, columns.label))
    for number, row in rows:
        where = f"{path.name}: row {number} (line {reader.line_num})"
        if len(row) != len(names):
            raise DataError(f"{where} has {len(row)} columns, expected {len(names)}: {', '.join(names)}")
        yield Text(row[text], row[label], where)


def _rows(reader: Iterator[list[str]], path: Path) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        for row in reader:
            if row:
                yield number, row
                number += 1
    except csv.Error as error:
        raise DataError(f"{path.name}: row {number} is no CSV: {error}") from error


def _place(column: str, names: Sequence[str], path: Path) -> int:
    if column not in names:
        raise DataError(f"{path.name}: has no column {column!r}; its columns are {', '.join(names) or 'none'}")
    return list(names).index(column)


def _from_lines(path: Path, columns: Columns) -> Iterator[Text]:
    for number, line in enumerate(_content(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name}: line {number}"
        row = _object(line, where)
        for column in (columns.text, columns.label):
            if column not in row:
                raise DataError(f"{where} has no column {column!r}; it has {', '.join(row) or 'none'}")
        text, label = row[columns.text], row[columns.label]
        if not isinstance(text, str):
            raise DataError(f"{where}: column {columns.text!r} is {type(text).__name__}, expected a string")
        yield Text(text, str(label), where)


def _object(line: str, where: str) -> Mapping[str, object]:
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"{where} is no JSON object: {error}") from error


def _content(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path.name}: cannot be read: {error}") from error
    return _decoded(data, path.name)


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{where}: line {line} is not UTF-8 (byte {error.start})") from error
