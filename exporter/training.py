"""The training loop of torch members, and the random distortions of images. One thread, one seed, one result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.families.base import Augmentation, Training

Loss = Callable[[Tensor, Tensor], Tensor]
"""Output [n, ...] and target [n] → a scalar."""

_WARM_UP = 0.2
"""Share of the steps in which the learning rate rises."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialisation and dropout from `seed`; torch's global generators are as before afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def fit(
    module: nn.Module, inputs: Sequence[Tensor], target: Tensor, training: Training, loss: Loss, seed: int
) -> nn.Module:
    """`module` trained in place on tensors [n, …] in its order of arguments, and set to evaluation.

    Augmentation is of the first of them, an image. Raises TrainingError where the loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = max(1, len(target) // training.batch_rows)
    optimiser = torch.optim.AdamW(module.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.learning_rate, total_steps=training.epochs * batches, pct_start=_WARM_UP
    )
    module.train()
    for epoch in range(training.epochs):
        order = torch.randperm(len(target), generator=generator)
        for index in order.tensor_split(batches):
            batch = [tensor[index] for tensor in inputs]
            if training.augmentation is not None:
                batch[0] = distorted(batch[0], training.augmentation, generator)
            value = loss(module(*batch), target[index])
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        if not torch.isfinite(value):
            raise TrainingError(f"the loss is {value.item()} after epoch {epoch + 1} of {training.epochs}")
    return module.eval()


def distorted(images: Tensor, bounds: Augmentation, generator: torch.Generator) -> Tensor:
    """Each of float32 [n, h, w] or [n, c, h, w] turned, scaled, sheared and shifted at random; black outside."""
    planes = images if images.dim() == 4 else images[:, None]
    n, _, height, width = planes.shape

    def drawn(bound: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * bound

    angle, across, down = drawn(math.radians(bounds.degrees)), 1 + drawn(bounds.scale), 1 + drawn(bounds.scale)
    shear = drawn(bounds.shear)
    # The grid runs from -1 to 1, so a pixel is 2 / size of it.
    right, low = drawn(2 * bounds.shift_px / width), drawn(2 * bounds.shift_px / height)
    cos, sin = torch.cos(angle), torch.sin(angle)
    upper = torch.stack([cos * across, shear - sin * down, right], dim=1)
    lower = torch.stack([sin * across, cos * down, low], dim=1)
    affine = torch.stack([upper, lower], dim=1).to(images.device)
    grid = nn.functional.affine_grid(affine, list(planes.shape), align_corners=False)
    moved = nn.functional.grid_sample(planes, grid, align_corners=False)
    return moved.reshape(images.shape)
