"""Ratings that users gave to items, with the time: MovieLens' own files, or CSV of the same columns.

F. M. Harper, J. A. Konstan: The MovieLens Datasets, ACM TiiS 5(4), 2015. The data may not be redistributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from exporter.data.columns import Columns, read_columns
from exporter.data.dataset import FREE, TEST, Array, Dataset, Rows
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from exporter.ratings.side_features import SideTable, bare, side_table
from model_repo import Input

USER, ITEM, TIME = "user", "item", "timestamp"
"""The inputs: INT64 [n] each; ids as the data has them, times in Unix seconds."""

_RATINGS = ("user_id", "item_id", "rating", "timestamp")
_USERS = ("user_id", "age", "gender", "occupation", "zip_code")
_ITEMS = ("item_id", "title", "release_date", "video_release_date", "imdb_url", *(f"genre_{g}" for g in range(19)))
_LATIN = "latin-1"  # u.item has titles in it

_FAR = np.iinfo(np.int64).max


class Movielens(Source, frozen=True, kw_only=True, tag="movielens"):
    """`u.data` with `u.user` and `u.item`, or `ratings*.csv[.gz]` with `users` and `items` beside them.

    CSV columns: user_id, item_id, rating, timestamp. Rows of a file whose name ends in `_test` are the test part;
    without one, and without `fold`, all rows are ours to split. `users` and `items` have any columns beside
    `user_id` and `item_id`; they are optional, and without them the members know ids alone.
    """

    domain: ClassVar[Domain] = "pairs"

    lowest: float = 1.0
    """Of the ratings; what is below is refused."""
    highest: float = 5.0
    fold: Literal["u1", "u2", "u3", "u4", "u5", "ua", "ub"] | None = None
    """MovieLens-100K alone: read NAME.base and NAME.test, its own parts, in place of u.data."""

    def load(self, folder: Path | None) -> Dataset:
        """All ratings. Raises DataError naming file and line."""
        if folder is None:
            raise DataError("movielens needs --data: a folder with u.data or ratings.csv")
        files = _files(folder, self.fold)
        pairs = _Pairs.of([(table, part) for table, part in files.ratings])
        users, items = files.users or bare(pairs.user), files.items or bare(pairs.item)
        rating = self._checked(pairs, users, items)
        inputs: dict[str, Array] = {USER: pairs.user, ITEM: pairs.item, TIME: pairs.time}
        return Dataset(
            rows=Rows.of(inputs, rating, pairs.part, np.searchsorted(users.ids, pairs.user).astype(np.int64)),
            classes=(),
            inputs=tuple(Input(name=name, datatype="INT64", shape=(-1,)) for name in inputs),
            edges=_edges(users, items, pairs),
            task="regression",
            unique=False,  # a pair that is there twice is refused below, with its lines
            context={
                "user_ids": users.ids,
                "item_ids": items.ids,
                "user_features": users.features,
                "item_features": items.features,
                "rating_range": np.array([self.lowest, self.highest], dtype=np.float32),
            },
        )

    def _checked(self, pairs: _Pairs, users: SideTable, items: SideTable) -> NDArray[np.float32]:
        """The ratings float32 [n]; NaN marks a bad row, which cleaning leaves out, where it may."""
        bad = {
            f"rating is outside {self.lowest:g} to {self.highest:g}": ~(
                (pairs.rating >= self.lowest) & (pairs.rating <= self.highest)  # NaN is in no range
            ),
            "user_id is not among the users": ~np.isin(pairs.user, users.ids),
            "item_id is not among the items": ~np.isin(pairs.item, items.ids),
            "timestamp is negative": pairs.time < 0,
            "user and item are there a second time": pairs.again(),
        }
        rating = pairs.rating.astype(np.float32)
        for reason, rows in bad.items():
            if rows.any() and self.on_bad_rows == "error":
                row = int(np.flatnonzero(rows)[0])
                raise DataError(f"{pairs.where(row)}: {reason} (user {pairs.user[row]}, item {pairs.item[row]}, "
                                f"rating {pairs.rating[row]:g}); {rows.sum()} such rows")  # fmt: skip
            rating[rows] = np.nan
        return rating


@dataclass(frozen=True)
class _Files:
    ratings: list[tuple[Columns, int]]
    """Tables of ratings and the part that their rows are in."""
    users: SideTable | None
    items: SideTable | None


@dataclass(frozen=True)
class _Pairs:
    """The ratings of all files, one after the other."""

    tables: list[Columns]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    rating: NDArray[np.float64]
    time: NDArray[np.int64]
    part: NDArray[np.int8]

    @staticmethod
    def of(files: list[tuple[Columns, int]]) -> _Pairs:
        tables = [table for table, _ in files]
        integers = [np.concatenate([table.integers(name) for table in tables]) for name in
                    ("user_id", "item_id", "timestamp")]  # fmt: skip
        rating = np.concatenate([table.numbers("rating") for table in tables])
        part = np.concatenate([np.full(len(table), part, dtype=np.int8) for table, part in files])
        return _Pairs(tables, integers[0], integers[1], rating, integers[2], part)

    def where(self, row: int) -> str:
        """File and line of a row."""
        for table in self.tables:
            if row < len(table):
                return table.at(row)
            row -= len(table)
        raise AssertionError("a row beyond the last; this is a bug")

    def again(self) -> NDArray[np.bool_]:
        """Rows whose pair an earlier row has."""
        _, first, place = np.unique(
            np.stack([self.user, self.item], axis=1), axis=0, return_index=True, return_inverse=True
        )
        return np.asarray(first[place.ravel()] != np.arange(len(self.user)))


def _files(folder: Path, fold: str | None) -> _Files:
    if (folder / "u.data").is_file() or fold is not None:
        ratings = [("u.data", FREE)] if fold is None else [(f"{fold}.base", FREE), (f"{fold}.test", TEST)]
        tables = [(read_columns(folder / name, "\t", _RATINGS), part) for name, part in ratings]
        users = _optional(folder / "u.user", _USERS, "user_id")
        return _Files(tables, users, _optional(folder / "u.item", _ITEMS, "item_id"))
    found = sorted(path for path in folder.glob("ratings*.csv*") if path.suffix in (".csv", ".gz"))
    if not found:
        raise DataError(f"{folder} has neither u.data nor ratings*.csv[.gz]")
    return _Files([(read_columns(path), _part(path)) for path in found], _side(folder, "user"), _side(folder, "item"))


def _part(path: Path) -> int:
    return TEST if path.name.split(".")[0].endswith("_test") else FREE


def _optional(path: Path, names: tuple[str, ...], id_column: str) -> SideTable | None:
    return side_table(read_columns(path, "|", names, _LATIN), id_column) if path.is_file() else None


def _side(folder: Path, thing: str) -> SideTable | None:
    for path in (folder / f"{thing}s.csv", folder / f"{thing}s.csv.gz"):
        if path.is_file():
            return side_table(read_columns(path), f"{thing}_id")
    return None


def _edges(users: SideTable, items: SideTable, pairs: _Pairs) -> dict[str, Array]:
    """The first and the last of each; ids that nobody has; times before, among and long after the ratings."""
    user = [users.ids[0], users.ids[-1], -1, users.ids[0], _FAR, -2]
    item = [items.ids[-1], items.ids[0], items.ids[0], -1, -_FAR, -2]
    time = [0, pairs.time.max(), pairs.time.min(), _FAR, int(np.median(pairs.time)), -_FAR]
    return {name: np.array(values, dtype=np.int64) for name, values in ((USER, user), (ITEM, item), (TIME, time))}
