"""Federated averaging (McMahan et al. 2017): each worker has rows of its own, and only weights are told."""

from __future__ import annotations

import torch
from torch import Tensor

from exporter.errors import TrainingError
from exporter.optimisation.exchanges.gang import Gang
from exporter.optimisation.exchanges.local_sgd import LocalSgdExchange
from exporter.optimisation.loop import Loop
from exporter.optimisation.problem import Problem
from exporter.optimisation.spec import Federated

_FEWEST_ROWS = 2
"""Of a shard, and of a worker's batch: batch normalisation has no deviation of one."""
_CHUNK_ROWS = 256


class FederatedExchange(LocalSgdExchange):
    """Local steps on the rows of this worker's shard alone; all meet at the mean of their weights by shard size."""

    def __init__(self, gang: Gang, technique: Federated) -> None:
        super().__init__(gang, technique)
        self._shards = technique.shards
        self._mine = torch.zeros(0, dtype=torch.bool)
        """Of each row of the problem, whether it is in this worker's shard."""

    def begin(self, loop: Loop) -> None:
        """All begin at the same weights. Raises TrainingError where a shard has fewer than two rows."""
        super().begin(loop)
        shard = shards_of(loop.problem, self._shards, self.workers)[self.rank]
        if len(shard) < _FEWEST_ROWS:
            raise TrainingError(
                f"training.mode federated: a shard of {loop.problem.rows} rows for {self.workers} workers has "
                f"{len(shard)}, expected at least {_FEWEST_ROWS}: fewer workers"
            )
        self._mine = torch.zeros(loop.problem.rows, dtype=torch.bool)
        self._mine[shard] = True

    def part(self, index: Tensor) -> Tensor:
        """Those of the batch's rows that are in this worker's shard."""
        own = index[self._mine[index.cpu()].to(index.device)]
        self._share = len(own) / len(index)
        return own

    def few(self, index: Tensor) -> Tensor:
        """Some of this worker's own rows: it sees no others."""
        own = self._mine.nonzero()[:, 0]
        drawn = torch.randint(len(own), (_FEWEST_ROWS,), generator=self._drawing)
        return own[drawn].to(index.device)

    def mean(self, flat: Tensor) -> None:
        """By the sizes of the shards."""
        flat *= int(self._mine.sum()) / len(self._mine)
        self.gang.sum(flat)


def shards_of(problem: Problem, shards: str, workers: int) -> tuple[Tensor, ...]:
    """Row numbers int64 of each worker's shard, the same in every worker; together all rows, each once.

    `by_class`: neighbours in the order of the classes. Raises TrainingError where the problem has no classes.
    """
    if shards == "by_class":
        return torch.argsort(_classes(problem), stable=True).tensor_split(workers)
    drawing = torch.Generator().manual_seed(problem.generator.initial_seed())
    return torch.randperm(problem.rows, generator=drawing).tensor_split(workers)


def _classes(problem: Problem) -> Tensor:
    if problem.logits is None:
        raise TrainingError('training.shards is "by_class", expected "random": the member has no classes to go by')
    drawing = torch.Generator().manual_seed(0)
    parts = torch.split(torch.arange(problem.rows), _CHUNK_ROWS)
    return torch.cat([problem.prepare(part, drawing)[-1].cpu() for part in parts])
