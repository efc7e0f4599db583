"""One worker of several that train one network at their own pace, by the weights that servers have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.optimisation.asynchronous.layout import Layout
from exporter.optimisation.asynchronous.leases import Batch as Leased
from exporter.optimisation.asynchronous.orders import Orders
from exporter.optimisation.asynchronous.shard import Pushed
from exporter.optimisation.loop import Exchange, Exchanged, Loop
from exporter.optimisation.problem import Batch
from exporter.optimisation.statistics import renew_statistics

_APART = 7919
"""Between the seeds of two workers."""


class Servers(Protocol):
    """All servers of weights, by place."""

    count: int
    elsewhere: bool
    """What is sent to them leaves this process."""

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The method of each server with its arguments, at the same time where they are elsewhere.

        Raises TrainingError where one is silent for too long, again and again.
        """
        ...


class Table(Protocol):
    """What a worker wants of a `LeaseTable`."""

    def open(self, network: int, epoch: int, batches: int) -> None: ...

    def take(self, network: int, holder: str, epoch: int, *, last: bool) -> Leased | None: ...

    def finish(self, network: int, batch: Leased, lives: Sequence[int] = ()) -> bool: ...

    def left(self, network: int) -> int: ...

    def close(self, network: int) -> None: ...


class ParameterServerExchange(Exchange):
    """Takes a lease on a batch, pushes its gradient, gets the weights back, and goes on.

    A gradient that is refused is computed anew by the weights that came back. At the end all batches of all epochs
    are in the weights, each once, whoever did them, and every worker that is left has the same network.
    """

    def __init__(self, rank: int, workers: int, table: Table, servers: Servers) -> None:
        self.rank, self.workers, self.exchanged = rank, workers, Exchanged()
        self.refused = 0
        """Gradients that were too stale."""
        self._table, self._servers = table, servers
        self.name = f"worker {rank + 1}"
        self._network = -1
        self._base: list[int] = []
        """The version of each shard that the weights here are."""
        self._lease: Leased = (0, 0)
        self._taken = False
        self._before: Tensor | None = None

    def begin(self, loop: Loop) -> None:
        """The weights of whoever came first, dropout drawn apart. Raises TrainingError."""
        problem = loop.problem
        if self.workers > problem.rows:
            raise TrainingError(f"{self.workers} workers for {problem.rows} rows, expected a row for each")
        self._network += 1
        self._before = torch.random.get_rng_state()
        if self.rank:
            torch.manual_seed(torch.initial_seed() + _APART * self.rank)
        self._orders = Orders(problem)
        self._layout = Layout(loop, self._servers.count)
        opened = zip(self._layout.weights(), self._layout.pieces(), strict=True)
        self._servers.each("open", [(self._network, weights, pieces, self._layout.plan) for weights, pieces in opened])
        self._pull()

    def network(self, module: nn.Module) -> nn.Module:
        """The module itself."""
        return module

    def batches(self, loop: Loop) -> Iterator[Batch]:
        """Batches of this epoch, or left over from one before, until others have the rest; each until it is taken."""
        self._table.open(self._network, loop.epoch, self._orders.epoch_begins(loop.epoch))
        last = loop.epoch == loop.problem.spec.epochs - 1
        while True:
            found = self._next(loop.epoch, last=last)
            if found is not None:
                (self._lease, batch), self._taken = found, False
                while not self._taken:
                    yield batch
                continue
            if last:
                self._pull()
                if self._table.left(self._network):  # a server died while the weights were fetched
                    continue
            return

    def _next(self, epoch: int, *, last: bool) -> tuple[Leased, Batch] | None:
        lease = self._table.take(self._network, self.name, epoch, last=last)
        return None if lease is None else (lease, self._orders.made(lease))

    def share(self, value: Tensor) -> Tensor:
        """The whole loss. Raises TrainingError where it is not finite: such a gradient is never pushed."""
        if not torch.isfinite(value):
            epoch, number = self._lease
            raise TrainingError(f"the loss is {value.item()} in batch {number + 1} of epoch {epoch + 1}")
        return value

    def step(self, loop: Loop) -> None:
        """Push the gradient; the weights that come back are the next batch's, or this one's again."""
        if not loop.steps.ready(loop.problem.module, loop.problem.most_gradient):
            return
        arguments = [
            (self._network, self._lease, gradient, absent, base)
            for (gradient, absent), base in zip(self._layout.gradients(), self._base, strict=True)
        ]
        answers: list[tuple[Pushed, Any, int, int]] = self._servers.each("push", arguments)
        self._layout.put([weights for _, weights, _, _ in answers])
        self._base = [version for _, _, version, _ in answers]
        self._count(2 * sum(weights.nbytes for _, weights, _, _ in answers))
        self._taken = all(found.verdict != "stale" for found, *_ in answers)
        self.refused += not self._taken
        if self._taken:
            self._table.finish(self._network, self._lease, [life for *_, life in answers])

    def ends(self, wish: bool) -> bool:
        """Where one wishes to; the others find nothing left to do."""
        if wish:
            self._servers.each("close", [(self._network,)] * self._servers.count)
            self._table.close(self._network)
        return wish

    def end(self, loop: Loop) -> None:
        """The servers' weights, statistics of batch normalisation by them, and torch's generator as it was."""
        self._pull()
        renew_statistics(loop.problem, loop.problem.generator.initial_seed())
        if self._before is not None:
            torch.random.set_rng_state(self._before)

    def _pull(self) -> None:
        answers = self._servers.each("pull", [(self._network,)] * self._servers.count)
        self._layout.put([weights for weights, _ in answers])
        self._base = [version for _, version in answers]
        self._count(sum(weights.nbytes for weights, _ in answers))

    def _count(self, size: int) -> None:
        if self._servers.elsewhere:
            self.exchanged.bytes += size
            self.exchanged.synchronisations += 1
