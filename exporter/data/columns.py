"""Files of one row a line as columns of text, plain or gzipped, in any encoding; mistakes are told by file and line.

For files whose columns are ids and numbers: MovieLens' own, edge lists. CSV with quoted text is `delimited`'s.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.errors import DataError

MAX_BYTES = 1 << 31
"""Of one file, decompressed: far above any table that is trained on here, and an end to a gzip bomb."""


@dataclass(frozen=True)
class Columns:
    """A file's columns as text, [n] each. `lines` is each row's line, counted from 1."""

    file: str
    text: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def at(self, row: int) -> str:
        """Where row number `row`, from 0, stands."""
        return f"{self.file}, line {self.lines[row]}"

    def column(self, name: str) -> list[str]:
        """The column as it is. Raises DataError when there is none of that name."""
        if name not in self.text:
            raise DataError(f"{self.file} has no column {name!r}, it has {', '.join(self.text)}")
        return self.text[name]

    def integers(self, name: str) -> NDArray[np.int64]:
        """The column as int64 [n]. Raises DataError."""
        found = np.empty(len(self), dtype=np.int64)
        for row, value in enumerate(self.column(name)):
            try:
                found[row] = int(value)
            except (ValueError, OverflowError) as error:
                raise DataError(f"{self.at(row)}: {name} is {value[:40]!r}, expected a 64-bit integer") from error
        return found

    def numbers(self, name: str) -> NDArray[np.float64]:
        """The column as float64 [n]; `nan` and `inf` are numbers too. Raises DataError."""
        found = np.empty(len(self), dtype=np.float64)
        for row, value in enumerate(self.column(name)):
            try:
                found[row] = float(value)
            except ValueError as error:
                raise DataError(f"{self.at(row)}: {name} is {value[:40]!r}, expected a number") from error
        return found


def read_columns(
    path: Path, separator: str = ",", names: Sequence[str] | None = None, encoding: str = "utf-8"
) -> Columns:
    """The file; its first line names the columns unless `names` does. Empty lines are passed over. Raises DataError."""
    reader = csv.reader(
        io.StringIO(_text(path, encoding), newline=""), delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if names is None else csv.QUOTE_NONE,
    )  # fmt: skip
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path.name}, line {reader.line_num}: cannot be read: {error}") from error
    if names is None:
        if not rows:
            raise DataError(f"{path.name} is empty, expected a line that names the columns")
        names = rows.pop(0)[1]
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"{path.name}, line {line}: has {len(row)} columns, expected {len(names)}")
    if not rows:
        raise DataError(f"{path.name} has no rows")
    text = {name: [row[place] for _, row in rows] for place, name in enumerate(names)}
    return Columns(path.name, text, [line for line, _ in rows])


def _text(path: Path, encoding: str) -> str:
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as stream:
            data: bytes = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:  # gzip's own errors are OSErrors
        raise DataError(f"{path.name} cannot be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path.name} has more than {MAX_BYTES} bytes")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path.name}, line {line}: is not {encoding}") from error
