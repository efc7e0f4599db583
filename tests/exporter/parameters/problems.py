"""A small problem with batch normalisation and dropout: two clouds of points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from exporter.optimisation.problem import Problem
from exporter.optimisation.run import seeded
from exporter.optimisation.spec import Optimisation

ROWS, BATCHES = 120, 4


def clouds() -> tuple[Tensor, Tensor]:
    """Points float32 [120, 3] and their classes int64 [120]."""
    generator = torch.Generator().manual_seed(3)
    target = torch.arange(ROWS) % 2
    return torch.randn(ROWS, 3, generator=generator) + 1.5 * target[:, None], target


def network(width: int = 8, seed: int = 0) -> nn.Sequential:
    """Not trained yet."""
    with seeded(seed):
        return nn.Sequential(
            nn.Linear(3, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 2)
        )


def problem_of(module: nn.Module, **spec: Any) -> Problem:
    """Four batches of thirty an epoch."""
    training = Optimisation(**{"epochs": 3, **spec})
    points, target = clouds()
    return Problem(
        module=module,
        rows=ROWS,
        epoch=lambda generator: iter(torch.randperm(ROWS, generator=generator).tensor_split(BATCHES)),
        prepare=lambda index, _: (points[index], target[index]),
        loss=lambda net, batch: nn.functional.cross_entropy(net(batch[0]), batch[1]),
        steps=training.epochs * BATCHES,
        spec=training,
        generator=torch.Generator().manual_seed(5),
    )
