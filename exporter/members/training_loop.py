"""The training loop of torch members. One thread, one seed, one result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.members.base import Training
from exporter.members.distortion import distorted

Loss = Callable[[Tensor, Tensor], Tensor]
"""Output [n, ...] and target [n] → a scalar."""

_WARM_UP = 0.2
"""Share of the steps in which the learning rate rises."""
_FEWEST = 6
"""Steps that the cycle is planned for at least: of five the rise is one, and torch divides by its length less one."""


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
        optimiser, training.learning_rate, total_steps=max(training.epochs * batches, _FEWEST), pct_start=_WARM_UP
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
