"""CSV files as rows of text, each with its line: every mistake is told with file and line."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import DataError

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Delimited:
    """One file: names of the columns, and cells [rows][columns] without the spaces around them."""

    name: str
    """Of the file, for messages."""
    columns: tuple[str, ...]
    cells: list[list[str]]
    lines: list[int]
    """Where each row ends in the file, from 1."""

    def __len__(self) -> int:
        return len(self.cells)

    def place(self, column: str, setting: str) -> int:
        """Where the column stands. Raises DataError naming the setting that asked for it and the columns there are."""
        if column not in self.columns:
            raise DataError(
                f"{self.name}: has no column {column!r} ({setting}), its columns are {listed(self.columns)}"
            )
        return self.columns.index(column)

    def at(self, row: int, sentence: str) -> str:
        """A message about one row: `train.csv, line 7: …`."""
        return f"{self.name}, line {self.lines[row]}: {sentence}"


def find(folder: Path | None, names: Sequence[str], setting: str) -> Path:
    """The first of `names` that is in the folder, as it is or with `.gz`; the folder itself where it is a file.

    Raises DataError where there is none.
    """
    if folder is None:
        raise DataError(f"--data is missing, expected a folder with {' or '.join(names)} (or .gz)")
    if folder.is_file():
        return folder
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise DataError(f"{folder}: has none of {listed(names)} (nor with .gz), which {setting} names")


def read_delimited(path: Path, columns: Sequence[str] = (), delimiter: str = ",") -> Delimited:
    """All rows of a CSV, or of a CSV under gzip. Raises DataError naming file and line.

    The first line holds the names of the columns; where `columns` gives them, a first line that is just those is
    passed over and any other is a row. Empty lines are passed over, and a first line that begins with `|` (a
    comment in the UCI repository's files).
    """
    text = _text(path)
    rows = _rows(path.name, text, delimiter)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path.name}: has no line but empty ones")
    names = tuple(columns) or tuple(first[1])
    if len(set(names)) < len(names) or "" in names:
        twice = sorted({name for name in names if not name or names.count(name) > 1})
        raise DataError(f"{path.name}: its columns need distinct names, {listed(twice)} is empty or there twice")
    body = list(rows) if tuple(first[1]) == names else [first, *rows]
    for line, cells in body:
        if len(cells) != len(names):
            raise DataError(f"{path.name}, line {line}: has {len(cells)} values, expected {len(names)}")
    if not body:
        raise DataError(f"{path.name}: has no rows below the names of its columns")
    return Delimited(path.name, names, [cells for _, cells in body], [line for line, _ in body])


def number(cell: str) -> float | None:
    """The cell as a number, which may be infinite or NaN; None where it is none. Python's `1_000` is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def listed(names: Sequence[str]) -> str:
    """Names in a message, at most twenty."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data.startswith(_GZIP):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:  # BadGzipFile is an OSError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{path.name}: cannot be read: {reason}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path.name}, line {line}: is not UTF-8, byte 0x{data[error.start]:02x}") from error


def _rows(name: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row's last line and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            comment = reader.line_num == 1 and cells[:1] and cells[0].startswith("|")
            if any(cells) and not comment:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: is not CSV: {error}") from error
