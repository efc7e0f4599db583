"""Producers, who make batches, and trainers, who take them; between them a queue of bounded length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.optimisation.asynchronous.batch_queue import Arrays
from exporter.optimisation.asynchronous.leases import Batch as Leased
from exporter.optimisation.asynchronous.orders import Orders
from exporter.optimisation.asynchronous.pushing import ParameterServerExchange, Servers, Table
from exporter.optimisation.loop import Exchange, Loop
from exporter.optimisation.problem import Batch


class Queue(Table, Protocol):
    """What producers and trainers want of a `BatchQueue`."""

    def put(self, network: int, producer: str, batch: Leased, arrays: Arrays) -> bool: ...

    def get(self, network: int, trainer: str, epoch: int, *, last: bool) -> tuple[Leased, Arrays] | None: ...

    def publish(self, network: int, state: Mapping[str, NDArray[Any]]) -> None: ...

    def published(self, network: int) -> Mapping[str, NDArray[Any]]: ...


class ProducerExchange(Exchange):
    """Makes batches, takes no step, and has at the end the weights that the trainers came to."""

    def __init__(self, rank: int, queue: Queue) -> None:
        self.rank = rank
        self.name = f"producer {rank + 1}"
        self._queue = queue
        self._network = -1

    def begin(self, loop: Loop) -> None:
        """The next network."""
        self._network += 1
        self._orders = Orders(loop.problem)

    def batches(self, loop: Loop) -> Iterator[Batch]:
        """None: what is made goes into the queue."""
        self._queue.open(self._network, loop.epoch, self._orders.epoch_begins(loop.epoch))
        last = loop.epoch == loop.problem.spec.epochs - 1
        while (lease := self._queue.take(self._network, self.name, loop.epoch, last=last)) is not None:
            self._queue.put(self._network, self.name, lease, _arrays(self._orders.made(lease)))
        yield from ()

    def end(self, loop: Loop) -> None:
        """The trainers' weights and buffers; a mean over the way is theirs, too."""
        module, loop.average = loop.problem.module, None
        published = self._queue.published(self._network)
        module.load_state_dict({name: torch.from_numpy(np.array(entry)) for name, entry in published.items()})


class TrainerExchange(ParameterServerExchange):
    """Takes batches from the queue; the rest is as with servers of weights."""

    def __init__(self, rank: int, workers: int, queue: Queue, servers: Servers) -> None:
        super().__init__(rank, workers, queue, servers)
        self.name = f"trainer {rank + 1}"
        self._queue = queue
        self._device = torch.device("cpu")
        self._ahead: tuple[Leased, Batch] | None = None
        """Of an epoch that has not begun here."""

    def begin(self, loop: Loop) -> None:
        """As with servers of weights."""
        super().begin(loop)
        self._device = next(loop.problem.module.parameters()).device
        self._ahead = None

    def end(self, loop: Loop) -> None:
        """As with servers of weights; producers get to know what came of it."""
        super().end(loop)
        state = loop.problem.module.state_dict()
        self._queue.publish(self._network, {name: entry.detach().cpu().numpy() for name, entry in state.items()})

    def _next(self, epoch: int, *, last: bool) -> tuple[Leased, Batch] | None:
        found = self._ahead or self._got(epoch, last=last)
        self._ahead = found if found is not None and found[0][0] > epoch else None
        return None if self._ahead is not None else found

    def _got(self, epoch: int, *, last: bool) -> tuple[Leased, Batch] | None:
        taken = self._queue.get(self._network, self.name, epoch, last=last)
        if taken is None:
            return None
        self.exchanged.bytes += sum(array.nbytes for array in taken[1])
        self.exchanged.synchronisations += 1
        return taken[0], _tensors(taken[1], self._device)


def _arrays(batch: Batch) -> Arrays:
    """As they travel between processes."""
    return [entry.cpu().numpy() for entry in batch]


def _tensors(arrays: Sequence[NDArray[Any]], device: torch.device) -> tuple[Tensor, ...]:
    """Copies: what comes from another process cannot be written."""
    return tuple(torch.from_numpy(np.array(array)).to(device) for array in arrays)
