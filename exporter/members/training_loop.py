"""Batches of whole rows: the problem that most torch members state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from exporter.members.base import Training
from exporter.members.distortion import distorted
from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.run import optimise

Loss = Callable[[Tensor, Tensor], Tensor]
"""Output [n, ...] and target [n] → a scalar."""


def fit(
    module: nn.Module,
    inputs: Sequence[Tensor],
    target: Tensor,
    training: Training,
    loss: Loss,
    seed: int,
    *,
    answer: Literal["logits", "value"] | None = None,
) -> nn.Module:
    """`module` trained in place on tensors [n, …] in its order of arguments, and set to evaluation.

    Augmentation is of the first of them, an image. `answer`: the module gives logits [n, C] of classes [n], or values
    [n, 1] of targets [n] in their unit, or something else. Raises TrainingError where the loss is not finite.
    """
    batches = max(1, len(target) // training.batch_rows)

    def epoch(generator: torch.Generator) -> Iterator[Tensor]:
        return iter(torch.randperm(len(target), generator=generator).tensor_split(batches))

    def plain(index: Tensor) -> Batch:
        return *(tensor[index] for tensor in inputs), target[index]

    def prepare(index: Tensor, generator: torch.Generator) -> Batch:
        first, *others = plain(index)
        if training.augmentation is not None:
            first = distorted(first, training.augmentation, generator)
        return first, *others

    def output(network: nn.Module, batch: Batch) -> Tensor:
        found: Tensor = network(*batch[:-1])
        return found

    problem = Problem(
        module=module,
        rows=len(target),
        epoch=epoch,
        prepare=prepare,
        loss=lambda network, batch: loss(output(network, batch), batch[-1]),
        steps=training.epochs * batches,
        spec=training,
        generator=torch.Generator().manual_seed(seed),
        logits=output if answer == "logits" else None,
        value=output if answer == "value" else None,
        plain=plain,
    )
    return optimise(problem)
