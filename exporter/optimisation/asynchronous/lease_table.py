"""The leases of all networks of one job, for workers that wait for one."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from exporter.optimisation.asynchronous.leases import Batch, Leases
from exporter.optimisation.run import EpochDone


class LeaseTable:
    """Called by many threads, or as an actor by many processes."""

    def __init__(self, stall_s: float) -> None:
        self.changed = threading.Condition()
        self.leases: dict[int, Leases] = defaultdict(lambda: Leases(stall_s))
        """By the number of the network."""
        self.closed: set[int] = set()
        """Networks whose training has ended."""
        self.gone: set[str] = set()
        """Holders that died; they get nothing more."""
        self._told: list[EpochDone] = []
        self._epochs: set[tuple[int, int]] = set()
        self._lives: dict[int, int] = {}
        self.restored = 0
        """How often a server went on from what it had kept."""
        self.applied = 0
        """Batches that were done, of all networks; those that a server forgot count twice."""

    def open(self, network: int, epoch: int, batches: int) -> None:
        """An epoch of the network has so many batches."""
        with self.changed:
            self.leases[network].open(epoch, batches)
            self.changed.notify_all()

    def take(self, network: int, holder: str, epoch: int, *, last: bool) -> Batch | None:
        """The next batch, of this epoch or one before; None where there is none.

        In the `last` epoch it is waited for until all are done: others may die.
        """
        with self.changed:
            while True:
                leases, now = self.leases[network], time.monotonic()
                if network in self.closed or holder in self.gone:
                    return None
                found = leases.take(holder, now, epoch)
                if found is not None or not last or not leases.left():
                    return found
                expiry = leases.next_expiry()
                self.changed.wait(None if expiry is None else max(expiry - now, 0.001))

    def finish(self, network: int, batch: Batch, lives: Sequence[int] = ()) -> bool:
        """The batch is in the weights of the servers that began these lives; False where it was already.

        Where a server began another since, it may have forgotten the batch: it is to be done again.
        """
        with self.changed:
            leases = self.leases[network]
            forgotten = any(self._lives.get(place) != life for place, life in enumerate(lives))
            new = not forgotten and leases.finish(batch)
            if forgotten:
                leases.free(batch)
            self.applied += new
            self.changed.notify_all()
            return new

    def left(self, network: int) -> int:
        """How many of the batches that were opened are not done; 0 where the network is closed."""
        with self.changed:
            return 0 if network in self.closed else self.leases[network].left()

    def release(self, holder: str) -> int:
        """The holder is gone: what it had is free, and it gets no more. How many batches it had."""
        with self.changed:
            self.gone.add(holder)
            freed = sum(leases.release(holder) for leases in self.leases.values())
            self.changed.notify_all()
            return freed

    def started(self, place: int, life: int, applied: Mapping[int, Sequence[Batch]]) -> None:
        """A server began a life; it knows no other batches than these, by network: the rest is to be done again."""
        with self.changed:
            if place in self._lives:
                self.restored += 1
                for network, leases in self.leases.items():
                    leases.keep_only(set(applied.get(network, ())))
            self._lives[place] = life
            self.changed.notify_all()

    def close(self, network: int) -> None:
        """Training of the network ends here, whatever is left."""
        with self.changed:
            self.closed.add(network)
            self.changed.notify_all()

    def tell(self, done: EpochDone) -> None:
        """A worker is through an epoch; of several workers the first is told on."""
        with self.changed:
            if (done.network, done.epoch) not in self._epochs:
                self._epochs.add((done.network, done.epoch))
                self._told.append(done)

    def told(self) -> list[EpochDone]:
        """What came since this was asked last."""
        with self.changed:
            found, self._told = self._told, []
            return found
