"""Series of numbers at equal times: windows of all of them, and one of them some steps later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from exporter.data.dataset import FREE, FUSION, TEST, Array, Dataset, Rows
from exporter.data.delimited import Delimited, find, listed, number, read_delimited
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from model_repo import Input

WINDOW = "window"
"""The ensemble's input: FP32 [-1, L, V], the last L values of all V series, oldest first, in their own units."""

PREDICTED = "predicted"
"""In the context, int64 []: which of the V series is predicted."""

_LARGEST = 1e30
"""Numbers are smaller than this: their differences must be float32 too."""

_PARTS = (FREE, FUSION, TEST)


class Series(Source, frozen=True, kw_only=True, tag="series"):
    """A CSV (or CSV.gz) with one row per time, in order, split in time into fit, fusion and test rows.

    Each part has windows and targets of its own stretch of time alone: none reaches into another part. A gap ends the
    export whatever `on_bad_rows` says: leaving a time out would move all that follow.
    """

    domain: ClassVar[Domain] = "series"

    file: tuple[str, ...] = ("ETTh1.csv",)
    """File names in the data folder; the first that is there, as it is or with `.gz`."""
    date: str = "date"
    """The column with the time, ISO 8601: strictly ascending and equally spaced. Empty: there is none."""
    series: tuple[str, ...] = ()
    """The columns to look at; none: all but the date."""
    target: str = "OT"
    window: Annotated[int, Meta(ge=2, le=4096)] = 96
    """L: steps that a row looks back."""
    horizon: Annotated[int, Meta(ge=1, le=4096)] = 24
    """The target is the value so many steps after the last of the window."""
    parts: tuple[int, int, int] | None = None
    """Steps of the fit, fusion and test part, from the first one on; what is left over is not used. Absent: 60%, 20%
    and 20% of all. ETT's usual ones are 12, 4 and 4 months of hours: 8640, 2880, 2880."""
    every: Annotated[int, Meta(ge=1)] = 1
    """Steps from one window of the fit part to the next; fusion and test have one at each step."""
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","

    def load(self, folder: Path | None) -> Dataset:
        """All windows of the three parts. Raises DataError naming file and line."""
        file = read_delimited(find(folder, self.file, "data.file"), delimiter=self.delimiter)
        names = self._names(file)
        if self.date:
            _check_times(file, file.place(self.date, "data.date"))
        values = _values(file, [file.columns.index(name) for name in names], names)
        predicted = names.index(self.target)
        ends = self._ends(file)
        last = np.concatenate(ends)
        back = np.arange(-self.window + 1, 1)
        return Dataset(
            rows=Rows.of(
                {WINDOW: values[last[:, None] + back]},
                values[last + self.horizon, predicted],
                np.repeat(np.array(_PARTS, dtype=np.int8), [len(part) for part in ends]),
            ),
            classes=(),
            inputs=(Input(name=WINDOW, datatype="FP32", shape=(-1, self.window, len(names))),),
            edges={WINDOW: _edges(values, self.window)},
            task="regression",
            unique=False,  # two quiet days may be alike
            context={PREDICTED: np.array(predicted, dtype=np.int64)},
        )

    def _names(self, file: Delimited) -> list[str]:
        for name in self.series:
            file.place(name, "data.series")
        names = list(self.series) or [name for name in file.columns if name != self.date]
        if self.target not in names:
            raise DataError(f"{file.name}: has no series {self.target!r} (data.target), its series are {listed(names)}")
        return names

    def _ends(self, file: Delimited) -> list[NDArray[np.int64]]:
        """The last step of each part's windows."""
        total = len(file)
        lengths = self.parts or (total - 2 * (total // 5), total // 5, total // 5)
        if sum(lengths) > total or min(lengths) < 1:
            raise DataError(f"{file.name}: has {total} steps, data.parts wants {' + '.join(map(str, lengths))}")
        found, start = [], 0
        for name, length in zip(("fit", "fusion", "test"), lengths, strict=True):
            first, past = start + self.window - 1, start + length - self.horizon
            if past <= first:
                raise DataError(
                    f"{file.name}: the {name} part has {length} steps, a window of {self.window} and a target "
                    f"{self.horizon} steps later need {self.window + self.horizon}"
                )
            found.append(np.arange(first, past, self.every if name == "fit" else 1, dtype=np.int64))
            start += length
        return found


def _values(file: Delimited, places: Sequence[int], names: Sequence[str]) -> NDArray[np.float32]:
    """float32 [steps, V]. Raises DataError where there is no finite number."""
    found = np.empty((len(file), len(places)), dtype=np.float32)
    for row, cells in enumerate(file.cells):
        for column, place in enumerate(places):
            value = number(cells[place])
            if value is None or not abs(value) < _LARGEST:
                raise DataError(file.at(row, f"{names[column]} is {cells[place]!r}, expected a finite number"))
            found[row, column] = value
    return found


def _check_times(file: Delimited, place: int) -> None:
    """Raise DataError unless the times ascend by equal steps."""
    before: datetime | None = None
    step = None
    for row, cells in enumerate(file.cells):
        try:
            time = datetime.fromisoformat(cells[place])
        except ValueError as error:
            raise DataError(file.at(row, f"the date is {cells[place]!r}, expected ISO 8601")) from error
        if before is not None:
            if (time.tzinfo is None) != (before.tzinfo is None):
                raise DataError(file.at(row, f"the date is {cells[place]!r}; some dates have a time zone, some none"))
            found = time - before
            step = step or found
            if found != step or found.total_seconds() <= 0:
                raise DataError(file.at(row, f"is {found} after the row before, expected {step} and in order"))
        before = time


def _edges(values: NDArray[np.float32], window: int) -> Array:
    """Nothing at all, nothing but the highest values, a fall from those to the lowest, and a single spike."""
    low, high = values.min(axis=0), values.max(axis=0)
    zeros = np.zeros((window, values.shape[1]), dtype=np.float32)
    top = np.broadcast_to(high, zeros.shape)
    fall = np.where(np.arange(window)[:, None] < window // 2, high, low)
    spike = zeros.copy()
    spike[window // 2] = high
    return np.stack([zeros, top, fall, spike]).astype(np.float32)
