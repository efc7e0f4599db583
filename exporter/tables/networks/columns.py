"""A table's columns as they enter every member's graph: gaps filled, words as places in their column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting
from exporter.tables.source import CATEGORIES, NUMBERS, PLACES


@dataclass(frozen=True)
class Statistics:
    """Of the numbers of the rows that a member is trained on, each float32 [N]; gaps are left out."""

    median: NDArray[np.float32]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    gaps: NDArray[np.int64]
    """The columns in which some row has none."""

    @staticmethod
    def of(numbers: NDArray[np.float32]) -> Statistics:
        """A column without a single number has median and mean 0."""
        gone = absent(numbers)
        whole = np.where(gone, np.nan, numbers.astype(np.float64))
        whole[:, gone.all(axis=0)] = 0.0
        deviation = np.nanstd(whole, axis=0)
        return Statistics(
            np.nanmedian(whole, axis=0).astype(np.float32),
            np.nanmean(whole, axis=0).astype(np.float32),
            np.where(deviation > 0, deviation, 1.0).astype(np.float32),
            np.flatnonzero(gone.any(axis=0)).astype(np.int64),
        )


def absent(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which numbers [n, N] are missing: NaN."""
    found: NDArray[np.bool_] = np.isnan(numbers)
    return found


class Columns(nn.Module):
    """Numbers [n, N] (gaps filled by the median), their gaps [n, G] as 0 or 1, places [n, M]: what is there of them.

    Called with the tensors that the table has: numbers, categories as places in the vocabulary, or one of the two.
    """

    def __init__(self, rows: Rows, setting: Setting) -> None:
        super().__init__()
        names = [entry.name for entry in setting.inputs]
        self.has_numbers, self.has_categories = NUMBERS in names, CATEGORIES in names
        self.takes = tuple(name for name in (NUMBERS, CATEGORIES) if name in names)
        self.sizes: tuple[int, ...] = ()
        """Places of each category column; each has at least place 0."""
        self.statistics = Statistics.of(rows.inputs[NUMBERS]) if self.has_numbers else None
        if self.statistics is not None:
            self.register_buffer("median", torch.from_numpy(self.statistics.median))
            self.register_buffer("gaps", torch.from_numpy(self.statistics.gaps))
        if self.has_categories:
            table = setting.context[PLACES]
            self.sizes = tuple(int(size) for size in table.max(axis=1) + 1)
            starts = np.arange(len(table), dtype=np.int64) * table.shape[1]
            self.register_buffer("table", torch.from_numpy(np.ascontiguousarray(table).ravel()))
            self.register_buffer("starts", torch.from_numpy(starts))

    @property
    def gap_count(self) -> int:
        """G: number columns in which some row has none."""
        return 0 if self.statistics is None else len(self.statistics.gaps)

    def forward(
        self, first: Tensor, second: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        numbers = gaps = places = None
        words = second if self.has_numbers else first
        if self.has_numbers:
            gone = torch.isnan(first)
            numbers = torch.where(gone, self.get_buffer("median"), first)
            if self.gap_count:
                gaps = gone[:, self.get_buffer("gaps")].float()
        if self.has_categories and words is not None:
            places = self.get_buffer("table")[words + self.get_buffer("starts")]
        return numbers, gaps, places
