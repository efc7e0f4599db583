"""The table of docs/compatibility.md, and what a row's test is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

PAGE = Path(__file__).parents[3] / "docs" / "compatibility.md"


@dataclass(frozen=True)
class Row:
    """One row: the name that its files are registered by, and the line that publishes them."""

    brought: str
    made: str
    line: str


@dataclass(frozen=True)
class Expected:
    """What the published ensemble answers to `feeds` (input → [n, …]), output by output."""

    feeds: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    classes: tuple[str, ...] = ()
    atol: float = 1e-5
    rtol: float = 1e-5
    told: tuple[str, ...] = field(default=())
    """Parts of what the command prints."""


Brought = Callable[[Path], Expected]
"""Writes the row's files into a folder and says what is expected of them."""


def rows() -> list[Row]:
    """The rows of the page's table."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [Row(cell[0], cell[1], cell[2].strip("` |")) for cell in cells[2:]]
