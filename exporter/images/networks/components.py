"""Principal components as a linear layer with fixed weights, and a linear layer or a perceptron on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.images.families.pca import Pca
from exporter.images.networks.pixels import Frame, Pixels, frame_of, sampled_planes
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import train_classifier

_FLOOR = 0.05
"""Added to each component's standard deviation: the weakest are noise and would be blown up by whitening."""
_EXACT = 1024
"""Images of at most so many numbers are decomposed exactly, larger ones by random projection (Halko et al. 2011):
3,072 numbers × 21,000 rows take 3 s instead of minutes."""
_SPARE = 40
"""Directions more than asked for, so that the last ones are as good as the first."""
_SEED = 0
"""Of the projection: components belong to the rows, so every member of an ensemble gets the same ones."""


@dataclass(frozen=True)
class Basis:
    """`mean` [pixels] and `projection` [pixels, k]; whitened: each component has about unit variance."""

    mean: Tensor
    projection: Tensor


def principal_components(frame: Frame, rows: Rows, count: int) -> Basis:
    """The `count` strongest components of the rows, or of as many as fit into memory.

    Raises TrainingError when there are not so many.
    """
    if count > min(len(rows), frame.size):
        raise TrainingError(f"components is {count}, {len(rows)} rows of {frame.size} pixels have no more than "
                            f"{min(len(rows), frame.size)}")  # fmt: skip
    flat = sampled_planes(frame, rows).flatten(1)
    mean, spread, axes = _exact(flat) if frame.size <= _EXACT else _projected(flat, count)
    deviation = spread[:count] / math.sqrt(len(flat)) + _FLOOR
    return Basis(mean.float(), (axes[:, :count] / deviation).float())


def _exact(flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [pixels], singular values, and directions as columns."""
    mean = flat.double().mean(dim=0)
    _, spread, axes = torch.linalg.svd(flat.double() - mean, full_matrices=False)
    return mean, spread, axes.T


def _projected(flat: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same for the strongest directions alone."""
    mean = flat.mean(dim=0)
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        directions = min(count + _SPARE, *flat.shape)
        _, spread, axes = torch.svd_lowrank(flat - mean, q=directions, niter=3)
    return mean, spread, axes


class ComponentNetwork(nn.Module):
    """Image → logits [n, C]; linear where `hidden` is 0."""

    mean: Tensor
    projection: Tensor

    def __init__(self, frame: Frame, basis: Basis, columns: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.pixels = Pixels(frame)
        self.register_buffer("mean", basis.mean)
        self.register_buffer("projection", basis.projection)
        layers: list[nn.Module] = []
        size = basis.projection.shape[1]
        for width in (hidden, max(1, hidden // 2)) if hidden else ():
            layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
            size = width
        self.head = nn.Sequential(*layers, nn.Linear(size, columns))

    def forward(self, image: Tensor) -> Tensor:
        flat = self.pixels(image).flatten(1)
        logits: Tensor = self.head((flat - self.mean) @ self.projection)
        return logits


def train_pca(spec: Pca, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError when there are fewer pixels or rows than components."""
    frame = frame_of(setting)
    basis = principal_components(frame, rows, spec.components)
    build = lambda: ComponentNetwork(frame, basis, setting.columns, spec.hidden, spec.dropout)  # noqa: E731
    return train_classifier(build, rows, setting, spec.training)
