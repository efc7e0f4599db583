"""Two towers: embeddings of ids and networks of side features, trained on what the baseline leaves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import squared_error
from exporter.members.training_loop import fit
from exporter.optimisation.run import seeded
from exporter.ratings.families.two_tower import TwoTower
from exporter.ratings.networks.ratings import Ratings, tables
from exporter.ratings.networks.regressor import finished, prepared

_START = 0.05
"""Spread of the embeddings before training."""


class Tower(nn.Module):
    """Places int64 [n] → vectors [n, dimensions + 1]; the last number is the thing's own bias.

    The place behind the last has the cold start's embedding and the features' mean.
    """

    features: Tensor

    def __init__(self, features: NDArray[np.float32], spec: TwoTower) -> None:
        super().__init__()
        width = spec.dimensions + 1
        mean = features.mean(axis=0, keepdims=True)
        self.cold = len(features)
        self.hidden_ids = spec.hidden_ids
        self.register_buffer("features", torch.from_numpy(np.concatenate([features - mean, np.zeros_like(mean)])))
        self.embedding = nn.Embedding(self.cold + 1, width)
        nn.init.normal_(self.embedding.weight, std=_START)
        self.network = nn.Sequential(
            nn.Linear(max(features.shape[1], 1), spec.hidden), nn.ReLU(), nn.Dropout(spec.dropout),
            nn.Linear(spec.hidden, width),
        ) if features.shape[1] else None  # fmt: skip

    def forward(self, place: Tensor) -> Tensor:
        shown = place
        if self.training:
            shown = torch.where(torch.rand(len(place), device=place.device) < self.hidden_ids, self.cold, place)
        vector: Tensor = self.embedding(shown)
        return vector if self.network is None else vector + self.network(self.features[place])

    @torch.no_grad()
    def forget(self, unseen: NDArray[np.int64]) -> None:
        """Give the cold start's embedding to places that no training row had: theirs are as they were drawn."""
        self.embedding.weight[torch.from_numpy(unseen)] = self.embedding.weight[self.cold].clone()


class Towers(nn.Module):
    """Places of users and items → float32 [n]."""

    def __init__(self, user: Tower, item: Tower, dropout: float) -> None:
        super().__init__()
        self.user, self.item, self.dropout = user, item, nn.Dropout(dropout)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        u, i = self.user(user), self.item(item)
        rating: Tensor = (self.dropout(u[:, :-1]) * i[:, :-1]).sum(dim=1) + u[:, -1] + i[:, -1]
        return rating


class _Column(nn.Module):
    """The towers' answer as [n, 1], as losses of regressions take it."""

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.towers = towers

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        found: Tensor = self.towers(user, item)[:, None]
        return found


def fit_towers(spec: TwoTower, ratings: Ratings, left: NDArray[np.float64], setting: Setting) -> Towers:
    """Towers trained on what the baseline leaves, `left` [n]. Raises TrainingError."""
    context = tables(setting)
    with seeded(setting.seed):
        towers = Towers(Tower(context["user_features"], spec), Tower(context["item_features"], spec), spec.dropout)
        inputs = [torch.from_numpy(place).to(setting.device) for place in (ratings.user, ratings.item)]
        target = torch.from_numpy(left).float().to(setting.device)
        column = _Column(towers).to(setting.device)
        fit(column, inputs, target, spec.training, squared_error, setting.seed, answer="value")
    towers = towers.cpu()
    towers.user.forget(np.setdiff1d(np.arange(ratings.users), ratings.user))
    towers.item.forget(np.setdiff1d(np.arange(ratings.items), ratings.item))
    return towers


def train_towers(spec: TwoTower, rows: Rows, setting: Setting) -> Trained:
    """A member with values."""
    ratings, baseline, left = prepared(spec.baseline, rows, setting)
    return finished(baseline, fit_towers(spec, ratings, left, setting), setting)
