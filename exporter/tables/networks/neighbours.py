"""The fit rows as a member: a torch module that weighs their targets by nearness."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember
from exporter.scoring.metrics import FLOOR
from exporter.tables.families.neighbours import Neighbours
from exporter.tables.networks.features import DenseFeatures
from exporter.tables.networks.words import train_on_words
from model_repo.format.manifest import Kind

_PRIOR = 0.01
"""Of the answer is the mean of all fit rows: the nearest few are never certain."""

_WIDTHS = np.geomspace(0.05, 2.0, 16)
"""Tried widths h, in shares of the median distance between two rows."""

_LEFT_OUT = 1024
"""Rows that widths are compared on, each answered by all but itself."""


class NearestRows(nn.Module):
    """float32 [n, C] of the tensors of a table: targets [m, C] of kept rows [m, d], weighed by exp(-d² / h²)."""

    def __init__(self, features: nn.Module, kept: Tensor, target: Tensor, width: float) -> None:
        super().__init__()
        self.features = features
        self.kept, self.target = nn.Buffer(kept), nn.Buffer(target)
        self.prior, self.width = nn.Buffer(target.mean(dim=0)), width

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        weights = torch.softmax(-squared(self.features(first, second), self.kept) / self.width**2, dim=1)
        return (1 - _PRIOR) * (weights @ self.target) + _PRIOR * self.prior


def squared(x: Tensor, kept: Tensor) -> Tensor:
    """Squared distances [n, m] of rows [n, d] and [m, d]."""
    return ((x * x).sum(dim=1, keepdim=True) - 2 * (x @ kept.T) + (kept * kept).sum(dim=1)).clamp(min=0)


def train_neighbours(spec: Neighbours, rows: Rows, setting: Setting) -> Trained:
    """A member with probabilities, or with a value."""
    return train_on_words(lambda placed, inner: fit_neighbours(spec, placed, inner), rows, setting)


@torch.no_grad()
def fit_neighbours(spec: Neighbours, rows: Rows, setting: Setting) -> Trained:
    """On placed categories: the member of the rows, or of as many of them as the spec keeps."""
    if len(rows) > spec.most_rows:
        drawn = np.random.default_rng(setting.seed).permutation(len(rows))[: spec.most_rows]
        rows = rows.take(np.sort(drawn))
    features = DenseFeatures(rows, setting, spec.bins).eval()
    takes = features.columns.takes
    x = features(*(torch.from_numpy(rows.inputs[name]) for name in takes))
    target = torch.from_numpy(_columns(rows, setting))
    width = _width(x, target, setting)
    kind: Kind = "value" if setting.task == "regression" else "probabilities"
    return TorchMember(NearestRows(features, x, target, width), setting, kind, takes)


def _columns(rows: Rows, setting: Setting) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Targets float32 [m, C]: values, labels, or 1 for the class."""
    if setting.task == "classification":
        return np.eye(setting.columns, dtype=np.float32)[rows.target]
    return rows.target.astype(np.float32).reshape(len(rows), -1)


def _width(x: Tensor, target: Tensor, setting: Setting) -> float:
    """The tried width with the least loss of rows that are answered by all others."""
    some = min(len(x), _LEFT_OUT)
    distances = squared(x[:some], x)
    scale = float(distances.flatten()[:: max(1, distances.numel() // 100_000)].sqrt().median()) or 1.0
    distances[torch.arange(some), torch.arange(some)] = torch.inf  # a row is not its own neighbour
    losses = [_loss(distances, target, scale * share, setting) for share in _WIDTHS]
    return scale * float(_WIDTHS[int(np.argmin(losses))])


def _loss(distances: Tensor, target: Tensor, width: float, setting: Setting) -> float:
    weights = torch.softmax(-distances / width**2, dim=1)
    found = ((1 - _PRIOR) * (weights @ target) + _PRIOR * target.mean(dim=0)).double()
    wanted = target[: len(found)].double()
    if setting.task == "regression":
        return float(((found - wanted) ** 2).mean())
    if setting.task == "classification":
        return float(-(wanted * found.clamp(min=FLOOR).log()).sum(dim=1).mean())
    shares = wanted * found + (1 - wanted) * (1 - found)
    return float(-shares.clamp(min=FLOOR).log().mean())
