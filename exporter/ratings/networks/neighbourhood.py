"""Neighbours by correlation: tables of similarities and of deviations, and the most similar among what is rated."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting, Trained
from exporter.ratings.families.collaborative import Collaborative
from exporter.ratings.networks.ratings import Ratings
from exporter.ratings.networks.regressor import finished, prepared

MOST_CELLS = 1 << 26
"""Of one table: 256 MB of float32. Beyond that, neighbours belong into an index beside the model."""

_TIE = 4e-3
"""So large that 8,192 steps of it differ in float32."""


class Neighbourhood(nn.Module):
    """Places of users and items → float32 [n]: the weighted deviation of the neighbours that are rated.

    `similarity` [A+1, A], 0 or more; `deviation` [B+1, A] with 0 where there is no rating, `rated` uint8 of the same
    shape. By item A are the items and B the users; by user the other way round. The rows behind the last are 0, so
    the cold start has no correction.
    """

    similarity: Tensor
    deviation: Tensor
    rated: Tensor

    def __init__(
        self, similarity: NDArray[np.float64], deviation: NDArray[np.float64], rated: NDArray[np.float64],
        spec: Collaborative,
    ) -> None:  # fmt: skip
        super().__init__()
        self.by_item, self.damping = spec.by == "item", spec.damping
        self.count = min(spec.neighbours, similarity.shape[1])
        self.register_buffer("similarity", torch.from_numpy(with_cold_row(similarity)).float())
        self.register_buffer("deviation", torch.from_numpy(with_cold_row(deviation)).float())
        self.register_buffer("rated", torch.from_numpy(with_cold_row(rated)).to(torch.uint8))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        like, holder = (item, user) if self.by_item else (user, item)
        weight, place = torch.topk(self.similarity[like] * self.rated[holder].float(), self.count, dim=1)
        deviation = torch.gather(self.deviation[holder], 1, place)
        return (weight * deviation).sum(dim=1) / (weight.sum(dim=1) + max(self.damping, 1e-6))


def fit_neighbourhood(spec: Collaborative, ratings: Ratings, left: NDArray[np.float64]) -> Neighbourhood:
    """The tables of what the baseline leaves, `left` [n]. Raises TrainingError where they would be too large."""
    side = ratings.items if spec.by == "item" else ratings.users
    require_tables(max(side * side, ratings.users * ratings.items), ratings)
    deviation, rated = ratings.dense(left)
    if spec.by == "user":
        deviation, rated = deviation.T, rated.T
    similarity = _without_ties(correlations(deviation, rated, spec.shrinkage), rated.sum(axis=0))
    return Neighbourhood(similarity, deviation, rated, spec)


def correlations(deviation: NDArray[np.float64], rated: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """[A, A] of the columns of [B, A] over common ratings, shrunk by common / (common + shrinkage); at least 0."""
    common = rated.T @ rated
    energy = np.square(deviation).T @ rated
    found = deviation.T @ deviation / np.sqrt(np.maximum(energy * energy.T, 1e-12))
    found *= common / np.maximum(common + shrinkage, 1e-9)
    np.fill_diagonal(found, 0.0)
    return np.maximum(found, 0.0)


def _without_ties(similarity: NDArray[np.float64], ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Up to _TIE less for those with fewer ratings.

    All pairs with one rating in common correlate alike, and which of equals are among the highest is up to the
    library: 1 row in 262 of MovieLens-100K had other neighbours in torch than in onnxruntime.
    """
    rank = np.empty(len(ratings))
    rank[np.argsort(-ratings, kind="stable")] = np.arange(len(ratings))
    found: NDArray[np.float64] = similarity * (1.0 - _TIE * rank / len(ratings))
    return found


def require_tables(cells: int, ratings: Ratings) -> None:
    """Raise TrainingError where a table of so many cells is more than a member may hold."""
    if cells > MOST_CELLS:
        raise TrainingError(
            f"{ratings.users} users and {ratings.items} items make a table of {cells} cells, at most {MOST_CELLS}"
        )


def with_cold_row(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The table with a row of 0 behind the last."""
    return np.concatenate([table, np.zeros((1, table.shape[1]))])


def train_neighbourhood(spec: Collaborative, rows: Rows, setting: Setting) -> Trained:
    """A member with values. Raises TrainingError where users × items is too much for tables."""
    ratings, baseline, left = prepared(spec.baseline, rows, setting)
    return finished(baseline, fit_neighbourhood(spec, ratings, left), setting)
