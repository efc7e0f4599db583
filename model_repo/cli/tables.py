"""Plain text for a terminal: aligned tables, sizes, dates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from model_repo.wording import printable

_UNITS = ("B", "kB", "MB", "GB", "TB")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """The rows under their header, columns two spaces apart; those named in `right` are aligned to the right."""
    cells = [list(header)] + [[printable(cell) or "-" for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    rights = [title in right for title in header]
    return "\n".join(_line(row, widths, rights) for row in cells)


def _line(row: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> str:
    cells = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(row, widths, rights, strict=True)
    ]
    return "  ".join(cells).rstrip()


def fields(pairs: Sequence[tuple[str, str]]) -> str:
    """`name  value` lines, the values below each other; pairs without a value are left out."""
    shown = [(name, printable(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"  {name:{width}}  {value}" for name, value in shown)


def size(number: int) -> str:
    """A number of bytes for people: `1.2 MB` (powers of 1000)."""
    amount, power = float(number), 0
    while amount >= 999.5 and power < len(_UNITS) - 1:
        amount, power = amount / 1000, power + 1
    digits = 0 if power == 0 or amount >= 99.95 else 1
    return f"{amount:.{digits}f} {_UNITS[power]}"


def date(seconds: float) -> str:
    """Epoch seconds as local date and time to the minute."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
