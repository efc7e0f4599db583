"""Which batches of a training are done, and who has promised which of the others."""

from __future__ import annotations

import heapq
from collections.abc import Set
from dataclasses import dataclass

Batch = tuple[int, int]
"""Epoch and number, each from 0."""


@dataclass
class Lease:
    """A batch that somebody works on."""

    holder: str
    until: float | None
    """By the caller's clock, in seconds; None: as long as it takes."""


class Leases:
    """Every batch of every epoch is handed out until it is done. One thread; times are given, none is read."""

    def __init__(self, stall_s: float) -> None:
        """`stall_s`: after so many seconds a batch is handed to another."""
        self._stall_s = stall_s
        self._free: list[Batch] = []
        """A heap: the earliest first, so that what somebody left behind is not left for long."""
        self._held: dict[Batch, Lease] = {}
        self._done: set[Batch] = set()
        self._epochs: dict[int, int] = {}

    def open(self, epoch: int, batches: int) -> None:
        """An epoch has so many batches; whoever says so first is believed."""
        if epoch in self._epochs:
            return
        self._epochs[epoch] = batches
        for number in range(batches):
            heapq.heappush(self._free, (epoch, number))

    def take(self, holder: str, now: float, last: int | None = None) -> Batch | None:
        """The earliest batch, of no epoch after `last`, that is free or held for too long; None where there is none."""
        self.expire(now)
        if not self._free or (last is not None and self._free[0][0] > last):
            return None
        batch = heapq.heappop(self._free)
        self.give(batch, holder, now + self._stall_s)
        return batch

    def give(self, batch: Batch, holder: str, until: float | None) -> None:
        """The batch is another's from now on, also where it was free."""
        self._no_longer_free(batch)
        self._held[batch] = Lease(holder, until)

    def holder(self, batch: Batch) -> str | None:
        """Who has it; None where it is free or done."""
        lease = self._held.get(batch)
        return None if lease is None else lease.holder

    def held(self, holders: Set[str], last: int) -> int:
        """How many batches, of no epoch after `last`, these have."""
        return sum(epoch <= last and lease.holder in holders for (epoch, _), lease in self._held.items())

    def finish(self, batch: Batch) -> bool:
        """The batch is done; False where it was already."""
        new = batch not in self._done
        self._done.add(batch)
        self._held.pop(batch, None)
        self._no_longer_free(batch)
        return new

    def free(self, batch: Batch) -> None:
        """Nobody has the batch any more."""
        if batch in self._held:
            self._free_again(batch)

    def done(self, batch: Batch) -> bool:
        """Whether it is."""
        return batch in self._done

    def release(self, holder: str) -> int:
        """Whatever the holder has is free again; how many batches that are."""
        mine = [batch for batch, lease in self._held.items() if lease.holder == holder]
        for batch in mine:
            self._free_again(batch)
        return len(mine)

    def keep_only(self, done: Set[Batch]) -> int:
        """What is not among `done` is to be done again: a server forgot it. How many batches that are."""
        lost = [batch for batch in self._done if batch not in done]
        self._done.difference_update(lost)
        for batch in lost:
            heapq.heappush(self._free, batch)
        return len(lost)

    def left(self, last: int | None = None) -> int:
        """How many of the opened batches, of no epoch after `last`, are not done."""
        if last is None:
            return sum(self._epochs.values()) - len(self._done)
        return sum(count for epoch, count in self._epochs.items() if epoch <= last) - sum(
            epoch <= last for epoch, _ in self._done
        )

    def next_expiry(self) -> float | None:
        """When the first of the held batches is given up."""
        return min((lease.until for lease in self._held.values() if lease.until is not None), default=None)

    def expire(self, now: float) -> int:
        """Batches that are held for too long are free again; how many."""
        late = [batch for batch, lease in self._held.items() if lease.until is not None and lease.until <= now]
        for batch in late:
            self._free_again(batch)
        return len(late)

    def _no_longer_free(self, batch: Batch) -> None:
        if batch in self._free:
            self._free.remove(batch)
            heapq.heapify(self._free)

    def _free_again(self, batch: Batch) -> None:
        del self._held[batch]
        heapq.heappush(self._free, batch)
