"""Small problems of optimisation, the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.spec import Optimisation, Target

ROWS = 40
SIZES = (8, 7, 1, 5, 9, 3, 1, 6)
"""Rows of one epoch's batches: even, uneven, and fewer than two workers."""


def network(dropout: float = 0.0) -> nn.Module:
    """Images [n, 1, 4, 4] → logits [n, 3], with batch normalisation and a branch that no loss goes through.

    A bias before batch normalisation would have gradients of rounding alone, which Adam makes as large as any.
    """
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(64, 3),
    )  # fmt: skip
    module.register_module("unused", nn.Identity())
    module.register_parameter("idle", nn.Parameter(torch.ones(2)))
    return module


def rows() -> tuple[Tensor, Tensor]:
    """Images and classes that can be told by their mean."""
    draw = torch.Generator().manual_seed(5)
    target = torch.randint(0, 3, (ROWS,), generator=draw)
    return torch.randn(ROWS, 1, 4, 4, generator=draw) + target[:, None, None, None], target


def problem(
    module: nn.Module,
    seen: Callable[[nn.Module], None] = lambda _: None,
    *,
    epochs: int = 3,
    noise: float = 0.1,
    spoil: Callable[[Tensor, int], Tensor] = lambda loss, _: loss,
    stop_at: float | None = None,
) -> Problem:
    """Images with noise that is drawn batch by batch. `seen` gets the module before each step, with its gradients.

    `spoil` is given each loss and its step.
    """
    images, target = rows()
    images = images.to(next(module.parameters()).dtype)
    steps = 0

    def epoch(generator: torch.Generator) -> Iterator[Tensor]:
        yield from torch.split(torch.randperm(ROWS, generator=generator), list(SIZES))

    def prepare(index: Tensor, generator: torch.Generator) -> Batch:
        if not noise:
            return images[index], target[index]
        drawn = torch.randn(images[index].shape, generator=generator).to(images.dtype)
        return images[index] + noise * drawn, target[index]

    def logits(called: nn.Module, batch: Batch) -> Tensor:
        found: Tensor = called(batch[0])
        return found

    def loss(called: nn.Module, batch: Batch) -> Tensor:
        nonlocal steps
        steps += 1
        return spoil(nn.functional.cross_entropy(logits(called, batch), batch[1]), steps)

    def optimiser(trained: nn.Module) -> torch.optim.Optimizer:
        found = torch.optim.AdamW(trained.parameters(), 0.01)
        found.register_step_pre_hook(lambda *_: seen(trained))
        return found

    return Problem(
        module=module, rows=ROWS, epoch=epoch, prepare=prepare, loss=loss, steps=epochs * len(SIZES),
        spec=Optimisation(epochs=epochs, learning_rate=0.01, stop_at=Target(accuracy=stop_at) if stop_at else None),
        logits=logits, plain=lambda index: (images[index], target[index]), generator=torch.Generator().manual_seed(1),
        optimiser=optimiser,
    )  # fmt: skip


def accuracy(module: nn.Module) -> float:
    """On the rows that it was trained on."""
    images, target = rows()
    with torch.no_grad():
        return float((module.eval()(images).argmax(dim=1) == target).float().mean())
