"""What all techniques by torch.distributed have in common: beginning and ending alike, one loss, one seed each."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from exporter.errors import TrainingError
from exporter.optimisation.exchanges.gang import Gang
from exporter.optimisation.loop import Exchange, Loop

_APART = 7919
"""Between the seeds of two workers."""


class Company(Exchange):
    """Workers that take their parts of the same batches."""

    def __init__(self, gang: Gang) -> None:
        self.gang = gang
        self.rank, self.workers, self.exchanged = gang.rank, gang.workers, gang.exchanged
        self._share = 0.0
        """Of the batch's rows, how much is this worker's."""
        self._before: Tensor | None = None

    def together(self) -> AbstractContextManager[None]:
        """Raises TrainingError where another worker is gone."""
        return self.gang.together()

    def begin(self, loop: Loop) -> None:
        """The first worker's weights and buffers for all, dropout drawn apart. Raises TrainingError."""
        rows = loop.problem.rows
        if self.workers > rows:
            raise TrainingError(f"{self.workers} workers for {rows} rows, expected a row for each: fewer workers")
        self.gang.spread(list(loop.problem.module.state_dict().values()))
        self._before = torch.random.get_rng_state()
        if self.rank:
            torch.manual_seed(torch.initial_seed() + _APART * self.rank)

    def part(self, index: Tensor) -> Tensor:
        """One of as many even parts as there are workers; the last may be empty."""
        own = index.tensor_split(self.workers)[self.rank]
        self._share = len(own) / len(index)
        return own

    def agreed(self, loop: Loop, value: Tensor) -> Tensor:
        """The batch's loss by all workers' rows: what is not finite with one is not finite with any."""
        told = torch.zeros(1, device=self.gang.device)
        if self._share:  # a loss of borrowed rows counts for nothing
            told += value * self._share
        self.gang.sum(told)
        return told[0]

    def least(self, number: int) -> int:
        """The least of what all workers say."""
        told = torch.tensor([number], device=self.gang.device)
        self.gang.least(told)
        return int(told)

    def ends(self, wish: bool) -> bool:
        """Where all wish to."""
        return bool(self.least(int(wish)))

    def end(self, loop: Loop) -> None:
        """torch's generator is as it was, alike with all; what is trained next begins alike."""
        if self._before is not None:
            torch.random.set_rng_state(self._before)
