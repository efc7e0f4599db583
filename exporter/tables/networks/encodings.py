"""How numbers and places become features: scaled, in bins, one-hot, by the mean target of a category."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.tables.networks.columns import Statistics, absent

_LIMIT = 8.0
"""Deviations from the mean beyond which a scaled number is cut: one strange value must not decide alone."""

PRIOR_ROWS = 20.0
"""Rows of the overall mean that a category's own mean is mixed with."""


class Scaled(nn.Module):
    """Numbers [n, N] in deviations from their mean, within ± 8."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.from_numpy(statistics.mean))
        self.deviation = nn.Buffer(torch.from_numpy(statistics.deviation))

    def forward(self, numbers: Tensor) -> Tensor:
        return ((numbers - self.mean) / self.deviation).clamp(-_LIMIT, _LIMIT)


class Bins(nn.Module):
    """Numbers [n, N] piecewise linear [n, B]: how far each is through each bin of its column, 0 to 1.

    The edges are quantiles of the rows and of the distinct values: a column that is 0 in nine rows of ten has few
    of the former (Gorishniy et al. 2022, "On Embeddings for Numerical Features").
    """

    def __init__(self, numbers: NDArray[np.float32], count: int) -> None:
        super().__init__()
        edges = [_edges(column[~gone], count) for column, gone in zip(numbers.T, absent(numbers).T, strict=True)]
        owner = np.concatenate([np.full(len(edge) - 1, place) for place, edge in enumerate(edges)]).astype(np.int64)
        low = np.concatenate([edge[:-1] for edge in edges])
        width = np.concatenate([np.diff(edge) for edge in edges])
        self.width = len(owner)
        self.owner = nn.Buffer(torch.from_numpy(owner))
        self.low = nn.Buffer(torch.from_numpy(low))
        self.span = nn.Buffer(torch.from_numpy(width))

    def forward(self, numbers: Tensor) -> Tensor:
        return ((numbers[:, self.owner] - self.low) / self.span).clamp(0.0, 1.0)


class OneHot(nn.Module):
    """Places [n, M] as 0 and 1 [n, Σ (places of a column - 1)]; place 0, the unknown, is all 0."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        owner = np.repeat(np.arange(len(sizes), dtype=np.int64), [size - 1 for size in sizes])
        place = np.concatenate([np.arange(1, size, dtype=np.int64) for size in sizes])
        self.width = len(place)
        self.owner = nn.Buffer(torch.from_numpy(owner))
        self.place = nn.Buffer(torch.from_numpy(place))

    def forward(self, places: Tensor) -> Tensor:
        return (places[:, self.owner] == self.place).float()


class Means(nn.Module):
    """Places [n, M] as the mean target of their rows [n, M · R], one of R columns per class or one for a value.

    Of two classes the second alone. A category's mean is mixed with 20 rows of the overall one.
    """

    def __init__(self, places: NDArray[np.int64], target: NDArray[np.floating], sizes: Sequence[int]) -> None:
        """`target` float [n, R]."""
        super().__init__()
        prior = target.mean(axis=0)
        tables = [_means(column, target, size, prior) for column, size in zip(places.T, sizes, strict=True)]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self.table = nn.Buffer(torch.from_numpy(np.concatenate(tables).astype(np.float32)))
        self.starts = nn.Buffer(torch.from_numpy(starts))

    def forward(self, places: Tensor) -> Tensor:
        return self.table[places + self.starts].flatten(1)


def _means(
    column: NDArray[np.int64], target: NDArray[np.floating], size: int, prior: NDArray[np.floating]
) -> NDArray[np.floating]:
    count = np.bincount(column, minlength=size).astype(np.float64)
    total = np.stack([np.bincount(column, weights=one, minlength=size) for one in target.T], axis=1)
    found: NDArray[np.floating] = (total + PRIOR_ROWS * prior) / (count + PRIOR_ROWS)[:, None]
    return found


def _edges(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if not len(values):
        return np.array([0.0, 1.0], dtype=np.float32)
    steps = np.linspace(0, 1, count + 1)
    both = np.concatenate([np.quantile(values, steps), np.quantile(np.unique(values), steps)])
    edges = np.unique(both.astype(np.float32))
    # Bins too narrow for float32 would divide by almost nothing.
    wide = np.concatenate([[True], np.diff(edges) > np.maximum(1e-6 * np.abs(edges[1:]), 1e-12)])
    edges = edges[wide]
    return edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1], dtype=np.float32)
