"""A queue of bounded length between those who make batches and those who train on them."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from exporter.optimisation.asynchronous.lease_table import LeaseTable
from exporter.optimisation.asynchronous.leases import Batch

Arrays = Sequence[NDArray[Any]]
QUEUED = "the queue"
"""Who holds a batch that is made and not yet taken."""


@dataclass
class Fullness:
    """How full the queue was at most, and how much went through."""

    batches: int = 0
    bytes: int = 0
    put: int = 0
    """Batches that were let in; each is one that some trainer gets."""
    dropped: int = 0
    """Batches that came when another producer's was there already."""


class BatchQueue(LeaseTable):
    """A batch is free, a producer's, in the queue, a trainer's, and done; whoever dies, it is free again."""

    def __init__(self, stall_s: float, most: int) -> None:
        """`most`: batches in the queue of each network; producers wait beyond."""
        super().__init__(stall_s)
        self._most, self._stall_s = most, stall_s
        self._queued: dict[int, deque[tuple[Batch, Arrays]]] = defaultdict(deque)
        self._published: dict[int, Mapping[str, NDArray[Any]]] = {}
        self._trainers: set[str] = set()
        self._fullness = Fullness()

    def put(self, network: int, producer: str, batch: Batch, arrays: Arrays) -> bool:
        """A batch that the producer has made; False where nobody wants it any more. Waits while the queue is full."""
        with self.changed:
            leases, queue = self.leases[network], self._queued[network]
            if leases.holder(batch) == producer:
                leases.give(batch, producer, None)  # it waits for others here, and they may take their time
            while len(queue) >= self._most and leases.holder(batch) == producer and network not in self.closed:
                self.changed.wait()
            unwanted = leases.done(batch) or leases.holder(batch) not in (None, producer) or network in self.closed
            if unwanted or len(queue) >= self._most:  # full: its producer is gone, and another makes it again
                self._fullness.dropped += 1
                return False
            leases.give(batch, QUEUED, None)
            queue.append((batch, arrays))
            self._count(queue)
            self.changed.notify_all()
            return True

    def get(self, network: int, trainer: str, epoch: int, *, last: bool) -> tuple[Batch, Arrays] | None:
        """The batch that is longest in the queue, of whatever epoch; waits for one.

        None where the rest of this epoch is done or other trainers', in the `last` epoch where all is done.
        """
        with self.changed:
            self._trainers.add(trainer)
            while True:
                leases, queue, now = self.leases[network], self._queued[network], time.monotonic()
                if network in self.closed or trainer in self.gone:
                    return None
                if queue:
                    batch, arrays = queue.popleft()
                    leases.give(batch, trainer, now + self._stall_s)
                    self.changed.notify_all()
                    return batch, arrays
                if not (leases.left() if last else leases.left(epoch) - leases.held(self._trainers, epoch)):
                    return None
                expiry = leases.next_expiry()
                self.changed.wait(None if expiry is None else max(expiry - now, 0.001))
                if leases.expire(time.monotonic()):
                    self.changed.notify_all()

    def publish(self, network: int, state: Mapping[str, NDArray[Any]]) -> None:
        """What the network was trained to, for those who did not train it; producers stop."""
        with self.changed:
            self._published.setdefault(network, state)
            self.closed.add(network)
            self.changed.notify_all()

    def published(self, network: int) -> Mapping[str, NDArray[Any]]:
        """What the network was trained to; waits for it."""
        with self.changed:
            while network not in self._published:
                self.changed.wait()
            return self._published[network]

    def fullness(self) -> Fullness:
        """So far."""
        return self._fullness

    def _count(self, queue: deque[tuple[Batch, Arrays]]) -> None:
        seen = self._fullness
        seen.put += 1
        seen.batches = max(seen.batches, len(queue))
        seen.bytes = max(seen.bytes, sum(array.nbytes for _, arrays in queue for array in arrays))
