"""What a rating is before anybody's taste: the mean, the user, the item, the item's time, the user's sitting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.ratings.families.baseline import Baseline
from exporter.ratings.networks.ratings import Ratings

Floats = NDArray[np.float64]

_ROUNDS = 15
"""Alternations of user and item: measured on MovieLens-100K, nothing moves after 10."""

_FAR = 1 << 30
"""Seconds; a time that no sitting reaches: the kernel is 0 there."""


@dataclass(frozen=True)
class FittedBaseline:
    """Tables with a row for the cold start behind the last user and item; all of it 0 but the mean.

    `user` [U+1], `item` [I+1], `period` [I+1, P] by the periods between `edges` [P-1] (seconds after `start`),
    `times` int32 [U+1, H] (seconds after `start`) and `moods` [U+1, H]: each user's ratings, what is left of them.
    """

    spec: Baseline
    mean: float
    user: Floats
    item: Floats
    edges: NDArray[np.int32]
    period: Floats
    start: int
    times: NDArray[np.int32]
    moods: Floats

    def level(self, ratings: Ratings) -> Floats:
        """Everything but the sitting, float64 [n]."""
        seconds = (ratings.time - self.start).clip(-_FAR, _FAR)
        period = np.searchsorted(self.edges, seconds, side="right")
        return self.mean + self.user[ratings.user] + self.item[ratings.item] + self.period[ratings.item, period]


def fit_baseline(spec: Baseline, ratings: Ratings) -> tuple[FittedBaseline, Floats]:
    """The baseline of the ratings, and what it leaves of each, float64 [n].

    A rating's own share in its sitting is taken out of what is left: members that learn from the remainders must
    see them as those of a rating that is not there yet.
    """
    mean, user, item = _biases(spec, ratings)
    start = int(ratings.time.min())
    blank = FittedBaseline(
        spec, mean, user, item, np.zeros(0, dtype=np.int32), np.zeros((ratings.items + 1, 1)), start,
        np.zeros((0, 0), dtype=np.int32), np.zeros((0, 0)),
    )  # fmt: skip
    timed = _with_periods(blank, ratings)
    left = ratings.value - timed.level(ratings)
    return _with_sittings(timed, ratings, left), left - _others(spec, ratings, left)


def _biases(spec: Baseline, ratings: Ratings) -> tuple[float, Floats, Floats]:
    """Mean, and shrunk biases of users and items by turns."""
    mean = float(ratings.value.mean())
    user, item = np.zeros(ratings.users + 1), np.zeros(ratings.items + 1)
    for _ in range(_ROUNDS):
        left = ratings.value - mean - user[ratings.user]
        item = _shrunk(left, ratings.item, ratings.items + 1, spec.item_shrinkage)
        left = ratings.value - mean - item[ratings.item]
        user = _shrunk(left, ratings.user, ratings.users + 1, spec.user_shrinkage)
    return mean, user, item


def _shrunk(value: Floats, key: NDArray[np.int64], length: int, shrinkage: float) -> Floats:
    """Sums by key / (counts + shrinkage)."""
    sums = np.bincount(key, weights=value, minlength=length)
    found: Floats = sums / (np.bincount(key, minlength=length) + max(shrinkage, 1e-9))
    return found


def _with_periods(fitted: FittedBaseline, ratings: Ratings) -> FittedBaseline:
    """The item's popularity by period; periods have equally many ratings."""
    spec = fitted.spec
    seconds = (ratings.time - fitted.start).clip(-_FAR, _FAR)
    shares = np.arange(1, spec.periods) / spec.periods
    edges = np.unique(np.quantile(seconds, shares).astype(np.int32)) if spec.periods > 1 else fitted.edges
    place = ratings.item * (len(edges) + 1) + np.searchsorted(edges, seconds, side="right")
    left = ratings.value - fitted.level(ratings)
    length = (ratings.items + 1) * (len(edges) + 1)
    table = _shrunk(left, place, length, spec.period_shrinkage).reshape(ratings.items + 1, -1)
    return replace(fitted, edges=edges, period=table)


def _with_sittings(fitted: FittedBaseline, ratings: Ratings, left: Floats) -> FittedBaseline:
    """Each user's latest `remembered` ratings as a row of times and of what is left; padded far from any time."""
    spec = fitted.spec
    order = np.lexsort((-ratings.time, ratings.user))
    counts = np.bincount(ratings.user, minlength=ratings.users + 1)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(1, min(spec.remembered, int(counts.max()))) if spec.sitting_s is not None else 1
    kept = order[place < width]
    row, column = ratings.user[kept], place[place < width]
    times = np.full((ratings.users + 1, width), 2 * _FAR - 1, dtype=np.int32)
    moods = np.zeros((ratings.users + 1, width))
    times[row, column] = (ratings.time[kept] - fitted.start).clip(-_FAR, _FAR)
    moods[row, column] = left[kept]
    return replace(fitted, times=times, moods=moods)


def _others(spec: Baseline, ratings: Ratings, left: Floats) -> Floats:
    """The sitting's mood at each rating from the user's other ratings, float64 [n]."""
    found = np.zeros(len(left))
    if spec.sitting_s is None:
        return found
    order = np.argsort(ratings.user, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(ratings.user[order])) + 1):
        kernel = np.exp(-np.abs(ratings.time[rows, None] - ratings.time[None, rows]) / spec.sitting_s)
        np.fill_diagonal(kernel, 0.0)
        found[rows] = kernel @ left[rows] / (kernel.sum(axis=1) + spec.sitting_shrinkage)
    return found


class BaselineTables(nn.Module):
    """Places of users and items int64 [n], timestamps int64 [n] → float32 [n]."""

    user: Tensor
    item: Tensor
    edges: Tensor
    period: Tensor
    times: Tensor
    moods: Tensor

    def __init__(self, fitted: FittedBaseline) -> None:
        super().__init__()
        self.mean, self.start, self.spec = fitted.mean, fitted.start, fitted.spec
        for name in ("user", "item", "period", "moods"):
            self.register_buffer(name, torch.from_numpy(getattr(fitted, name)).float())
        self.register_buffer("edges", torch.from_numpy(fitted.edges))
        self.register_buffer("times", torch.from_numpy(fitted.times))

    def forward(self, user: Tensor, item: Tensor, timestamp: Tensor) -> Tensor:
        # Clamped first: the difference of any two int64 need not be one.
        seconds = (timestamp.clamp(self.start - _FAR, self.start + _FAR) - self.start).int()
        period = (seconds[:, None] >= self.edges[None]).sum(dim=1)
        level = self.mean + self.user[user] + self.item[item]
        level = level + torch.gather(self.period[item], 1, period[:, None])[:, 0]
        if self.spec.sitting_s is None:
            return level
        apart = (seconds.long()[:, None] - self.times[user].long()).abs().float()
        near = torch.exp(apart / -self.spec.sitting_s)
        return level + (near * self.moods[user]).sum(dim=1) / (near.sum(dim=1) + self.spec.sitting_shrinkage)
