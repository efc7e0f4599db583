"""The row numbers of any batch of any epoch that has begun; every worker draws the same."""

from __future__ import annotations

import torch
from torch import Tensor

from exporter.optimisation.asynchronous.leases import Batch
from exporter.optimisation.problem import Problem

_EPOCH = 1_000_003
"""Between the seeds of two epochs' first batches; a prime, and more than an epoch has batches."""
_SEEDS = 2**63


class Orders:
    """Keeps the generator's state at the beginning of each epoch, not the numbers of all."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._drawing = torch.Generator()
        self._states: list[Tensor] = []
        self._at = -1
        self._batches: list[Tensor] = []

    def epoch_begins(self, epoch: int) -> int:
        """How many batches the next epoch has. Epochs begin one after another."""
        assert epoch == len(self._states), f"epoch {epoch} begins after {len(self._states)}: a bug"
        self._states.append(self._problem.generator.get_state())
        self._at, self._batches = epoch, list(self._problem.epoch(self._problem.generator))
        return len(self._batches)

    def made(self, batch: Batch) -> tuple[Tensor, ...]:
        """The batch's tensors: the same, distortion too, whoever makes them and however often."""
        epoch, number = batch
        self._drawing.manual_seed((self._problem.generator.initial_seed() + epoch * _EPOCH + number) % _SEEDS)
        return self._problem.prepare(self.rows(batch), self._drawing)

    def rows(self, batch: Batch) -> Tensor:
        """int64, of an epoch that has begun."""
        epoch, number = batch
        if epoch != self._at:
            drawing = torch.Generator()
            drawing.set_state(self._states[epoch])
            self._at, self._batches = epoch, list(self._problem.epoch(drawing))
        return self._batches[number]
