"""Principal components as a linear layer with fixed weights, and a perceptron on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.networks.image.pixels import Frame, Pixels, planes

_FLOOR = 0.05
"""Added to each component's standard deviation: the weakest are noise and would be blown up by whitening."""


@dataclass(frozen=True)
class Basis:
    """`mean` [pixels] and `projection` [pixels, k]; whitened: each component has about unit variance."""

    mean: Tensor
    projection: Tensor


def principal_components(frame: Frame, rows: Rows, count: int) -> Basis:
    """The `count` strongest components of the rows. Raises TrainingError when there are not so many."""
    if count > min(len(rows), frame.size):
        raise TrainingError(f"components is {count}, {len(rows)} rows of {frame.size} pixels have no more than "
                            f"{min(len(rows), frame.size)}")  # fmt: skip
    flat = planes(frame, torch.from_numpy(rows.inputs[frame.name])).flatten(1).double()
    mean = flat.mean(dim=0)
    _, spread, axes = torch.linalg.svd(flat - mean, full_matrices=False)
    deviation = spread[:count] / math.sqrt(len(rows)) + _FLOOR
    return Basis(mean.float(), (axes[:count].T / deviation).float())


class ComponentNetwork(nn.Module):
    """Image → logits [n, C]."""

    mean: Tensor
    projection: Tensor

    def __init__(self, frame: Frame, basis: Basis, columns: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.pixels = Pixels(frame)
        self.register_buffer("mean", basis.mean)
        self.register_buffer("projection", basis.projection)
        layers: list[nn.Module] = []
        for size, width in ((basis.projection.shape[1], hidden), (hidden, max(1, hidden // 2))):
            layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
        self.head = nn.Sequential(*layers, nn.Linear(max(1, hidden // 2), columns))

    def forward(self, image: Tensor) -> Tensor:
        flat = self.pixels(image).flatten(1)
        logits: Tensor = self.head((flat - self.mean) @ self.projection)
        return logits
