"""The features that members on tables work on, as torch modules that become part of their graphs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting
from exporter.tables.networks.columns import Columns
from exporter.tables.networks.encodings import Bins, Means, OneHot, Scaled
from exporter.tables.source import NUMBERS

CategoryEncoding = Literal["codes", "means", "one_hot"]


class TreeFeatures(nn.Module):
    """Numbers as they are, gaps, and categories by code (places by frequency), one-hot, or by their mean target."""

    def __init__(self, rows: Rows, setting: Setting, encoding: CategoryEncoding) -> None:
        super().__init__()
        self.columns = Columns(rows, setting)
        self.encode: nn.Module | None = None
        if self.columns.has_categories and encoding == "one_hot":
            self.encode = OneHot(self.columns.sizes)
        elif self.columns.has_categories and encoding == "means":
            _, _, places = self.columns(*(torch.from_numpy(rows.inputs[name]) for name in self.columns.takes))
            self.encode = Means(places.numpy(), _indicators(rows, setting), self.columns.sizes)

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        numbers, gaps, places = self.columns(first, second)
        if places is not None:
            places = places.float() if self.encode is None else self.encode(places)
        return torch.cat([part for part in (numbers, gaps, places) if part is not None], dim=1)


class DenseFeatures(nn.Module):
    """Numbers scaled and in bins, gaps, and categories one-hot: all of about one size, for linear models."""

    def __init__(self, rows: Rows, setting: Setting, bins: int) -> None:
        super().__init__()
        self.columns = Columns(rows, setting)
        self.numbers = NumberFeatures(rows, self.columns, bins) if self.columns.has_numbers else None
        self.one_hot = OneHot(self.columns.sizes) if self.columns.has_categories else None

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        numbers, gaps, places = self.columns(first, second)
        parts = [gaps]
        if self.numbers is not None and numbers is not None:
            parts.append(self.numbers(numbers))
        if self.one_hot is not None and places is not None:
            parts.append(self.one_hot(places))
        return torch.cat([part for part in parts if part is not None], dim=1)


class NumberFeatures(nn.Module):
    """Numbers [n, N] scaled, and beside that in bins."""

    def __init__(self, rows: Rows, columns: Columns, bins: int) -> None:
        super().__init__()
        if columns.statistics is None:
            raise ValueError("the table has no numbers; this is a bug")
        self.scaled = Scaled(columns.statistics)
        self.bins = Bins(rows.inputs[NUMBERS], bins)
        self.width = len(columns.statistics.mean) + self.bins.width

    def forward(self, numbers: Tensor) -> Tensor:
        return torch.cat([self.scaled(numbers), self.bins(numbers)], dim=1)


def _indicators(rows: Rows, setting: Setting) -> NDArray[np.float64]:
    """What the mean of a category is taken of, [n, R]: the value, or 0 and 1 per class (of two the second) or label."""
    if rows.target.ndim == 2:
        return rows.target.astype(np.float64)
    if setting.task == "regression":
        return rows.target.astype(np.float64)[:, None]
    classes = np.arange(1 if setting.columns == 2 else 0, setting.columns)
    found: NDArray[np.float64] = (rows.target[:, None] == classes).astype(np.float64)
    return found
