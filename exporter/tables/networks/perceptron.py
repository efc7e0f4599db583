"""A multilayer perceptron on numbers in bins and learned embeddings of categories."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import squared_error, train_classifier, train_regressor
from exporter.tables.families.mlp import Mlp
from exporter.tables.networks.columns import Columns
from exporter.tables.networks.features import NumberFeatures
from exporter.tables.networks.words import train_on_words


class Perceptron(nn.Module):
    """Two hidden layers. In training some categories are taken for unknown ones, so that those have an embedding."""

    def __init__(
        self, rows: Rows, setting: Setting, *, bins: int, width: int, hidden: int, dropout: float, forget: float
    ) -> None:
        super().__init__()
        self.columns = Columns(rows, setting)
        self.numbers = NumberFeatures(rows, self.columns, bins) if self.columns.has_numbers else None
        self.embeddings = Embeddings(self.columns.sizes, width, forget) if self.columns.has_categories else None
        features = self.columns.gap_count + (self.numbers.width if self.numbers is not None else 0)
        features += len(self.columns.sizes) * width
        self.body = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, setting.columns),
        )  # fmt: skip
        regression = setting.task == "regression"
        self.mean = nn.Buffer(torch.tensor([float(rows.target.mean()) if regression else 0.0]))
        self.deviation = nn.Buffer(torch.tensor([float(rows.target.std()) or 1.0 if regression else 1.0]))

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        numbers, gaps, places = self.columns(first, second)
        parts = [gaps]
        if self.numbers is not None and numbers is not None:
            parts.append(self.numbers(numbers))
        if self.embeddings is not None and places is not None:
            parts.append(self.embeddings(places))
        found: Tensor = self.body(torch.cat([part for part in parts if part is not None], dim=1))
        return found * self.deviation + self.mean


class Embeddings(nn.Module):
    """Places [n, M] as vectors side by side [n, M · width]."""

    def __init__(self, sizes: tuple[int, ...], width: int, forget: float) -> None:
        super().__init__()
        self.forget = forget
        self.table = nn.Embedding(sum(sizes), width)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self.starts = nn.Buffer(torch.from_numpy(starts))

    def forward(self, places: Tensor) -> Tensor:
        if self.training and self.forget:
            places = places.masked_fill(torch.rand(places.shape, device=places.device) < self.forget, 0)
        vectors: Tensor = self.table(places + self.starts)
        return vectors.flatten(1)


def train_mlp(spec: Mlp, rows: Rows, setting: Setting) -> Trained:
    """A member with logits, or with a value. Raises TrainingError."""

    def trained(placed: Rows, inner: Setting) -> Trained:
        takes = [entry.name for entry in inner.inputs]
        build = lambda: Perceptron(  # noqa: E731
            placed, inner, bins=spec.bins, width=spec.width, hidden=spec.hidden, dropout=spec.dropout,
            forget=spec.forget,
        )  # fmt: skip
        if inner.task == "regression":
            return train_regressor(build, placed, inner, spec.training, squared_error, takes)
        return train_classifier(build, placed, inner, spec.training, takes)

    return train_on_words(trained, rows, setting)
