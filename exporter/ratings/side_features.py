"""Side tables (users, films) as features: numbers scaled to 0 … 1, categories as indicators, dates as years."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.data.columns import Columns
from exporter.errors import DataError

MOST_CATEGORIES = 64
"""Text columns with more different values, or one for less than two rows each, are names (titles), not features."""

_YEAR = re.compile(r"(?:\d{1,2}-[A-Za-z]{3}-)?(\d{4})(?:-\d{2}-\d{2})?")
"""01-Jan-1995, 1995-01-01 or 1995."""


@dataclass(frozen=True)
class SideTable:
    """Things with an id: `ids` int64 [N] ascending, their features float32 [N, F] and the features' names."""

    ids: NDArray[np.int64]
    features: NDArray[np.float32]
    names: tuple[str, ...]


def bare(ids: NDArray[np.int64]) -> SideTable:
    """The different ids, without features."""
    different = np.unique(ids)
    return SideTable(different, np.zeros((len(different), 0), dtype=np.float32), ())


def side_table(table: Columns, id_column: str) -> SideTable:
    """Every column but the id as features. Raises DataError for an id that is there twice or no integer."""
    ids = table.integers(id_column)
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(np.diff(ids[order]) == 0)
    if len(again):
        row = int(order[again[0] + 1])
        raise DataError(f"{table.at(row)}: {id_column} {ids[row]} is there a second time")
    found: dict[str, NDArray[np.float32]] = {}
    for name in table.text:
        if name != id_column:
            found.update(_features(table, name))
    columns = [column[order] for column in found.values()]
    features = np.stack(columns, axis=1) if columns else np.zeros((len(ids), 0), dtype=np.float32)
    return SideTable(ids[order], features, tuple(found))


def _features(table: Columns, name: str) -> dict[str, NDArray[np.float32]]:
    values = [value.strip() for value in table.column(name)]
    given = [value for value in values if value]
    if not given:
        return {}
    if name.endswith("date") and all(_YEAR.fullmatch(value) for value in given):
        matches = [_YEAR.fullmatch(value) for value in values]
        years = [float(match.group(1)) if match else np.nan for match in matches]
        return {f"{name}_year": _scaled(np.array(years))}
    numbers = _numbers(values)
    if numbers is not None:
        wild = np.flatnonzero(~np.isfinite(numbers) & np.array([bool(value) for value in values]))
        if len(wild):
            raise DataError(f"{table.at(int(wild[0]))}: {name} is {values[wild[0]]!r}, expected a finite number")
        return {name: _scaled(numbers)}
    categories = sorted(set(given))
    if len(categories) > min(MOST_CATEGORIES, len(values) // 2):
        return {}
    return {f"{name}={one}": np.array([value == one for value in values], dtype=np.float32) for one in categories}


def _numbers(values: list[str]) -> NDArray[np.float64] | None:
    """Numbers, NaN where there is nothing; None where one value is no number."""
    try:
        return np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        return None


def _scaled(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """0 for the lowest, 1 for the highest; the mean for what is missing."""
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    filled = np.where(np.isnan(numbers), np.nanmean(numbers), numbers)
    return ((filled - low) / max(high - low, 1e-9)).astype(np.float32)
