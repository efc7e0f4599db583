"""The batcher of a servable: a bounded queue of rows in front of its lanes.

Rows, not requests, are counted. While a lane is idle a batch starts at once; while all are busy, rows gather, up to
as many as are computed well at once. Everything here runs on the event loop's thread; only `run` leaves it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from time import monotonic

from model_repo import Batching
from server.errors import DeadlineExceeded, Overloaded, Superseded
from server.serving.batching.answer import Answer
from server.serving.batching.batch import BatchResult, Entry, Key, Outcome, Part, join
from server.serving.batching.batch_size import efficient_rows
from server.serving.batching.queue_wait import Pace
from server.serving.durations import spoken

INLINE_S = 0.001
"""A batch expected to take less runs on the loop itself: a thread hop costs about 39 µs and a wake-up (measured),
and half a millisecond is what the loop may stall between two reads."""
MAX_QUEUE_BYTES = 256 * 2**20
"""Of the rows that wait, beyond the first `ALWAYS_ROWS`."""
ALWAYS_ROWS = 1024

Run = Callable[[Sequence[Part]], BatchResult]


@dataclass(frozen=True, slots=True)
class BatcherStatistics:
    """A look at the batcher: rows waiting, rows being computed, batches running."""

    queued_rows: int
    inflight_rows: int
    busy_lanes: int


class Batcher:
    """Gathers rows into batches of at most `batch_rows` and gives each entry its own reply.

    `run` computes a batch and may be called on any thread; `seconds` estimates how long a batch of n rows takes;
    `done` hears of each batch on the loop, with its parts and seconds, or of the exception that ended it.
    """

    def __init__(
        self,
        limits: Batching,
        *,
        subject: str,
        version: int,
        lanes: int,
        executor: Executor,
        run: Run,
        seconds: Callable[[int], float],
        done: Callable[[Sequence[Part], BatchResult | BaseException, float], None],
    ) -> None:
        self._limits = limits
        self._subject = subject
        self._version = version
        self._lanes = lanes
        self._executor = executor
        self._run = run
        self._seconds = seconds
        self.batch_rows = efficient_rows(seconds, limits.max_batch_rows)
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Key, deque[Part]] = {}
        self.queued_rows = 0
        self.inflight_rows = 0
        self._busy = 0
        self._pump_scheduled = False
        self._delay_timer: asyncio.TimerHandle | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._pace = Pace(limits, self.batch_rows, lanes, seconds)
        self._last_rows = 1
        self._seen_rows = 0
        self._roomy_rows = min(limits.max_batch_rows, limits.max_queue_rows)
        self._full_s = seconds(limits.max_batch_rows)
        self._closed = False
        self._idle: asyncio.Future[None] | None = None

    def statistics(self) -> BatcherStatistics:
        """Rows and lanes as they are now."""
        return BatcherStatistics(self.queued_rows, self.inflight_rows, self._busy)

    def submit_nowait(self, entry: Entry) -> None:
        """Queue the entry, and compute it once the loop has read what else there is. Raises as `queue` does."""
        self.queue(entry)
        self._schedule()

    def queue(self, entry: Entry) -> None:
        """Queue the entry; its answer or error arrives in `entry.reply`. Somebody must call `begin` after it.

        Raises Superseded once closed, Overloaded when too much is queued or the deadline cannot be met, and
        DeadlineExceeded when it has passed.
        """
        if self._closed:
            raise Superseded(f"{self._subject} takes no new rows: it is being replaced")
        rows = entry.rows
        # Even a request larger than the whole queue is served when nothing waits; and what shares the next batch is
        # in time where there is time for a full one.
        if self.queued_rows and (
            self.queued_rows + rows > self._roomy_rows
            or entry.arrived + self._full_s * self._pace.slowdown >= entry.deadline
        ):
            self._admit(entry)
        queue = self._queues.get(entry.key)
        if queue is None:
            queue = self._queues[entry.key] = deque()
        if rows <= self.batch_rows:
            queue.append(Part(entry, 0, 0, rows, rows))
        else:
            self._cut(entry, queue)
        self.queued_rows += rows

    def begin(self) -> None:
        """Every request read in this turn of the loop is queued: start at once where no more are to be expected."""
        if self._last_rows > 1:
            self._schedule()
        elif not self._pump_scheduled:
            self._pump()

    def check_room(self) -> None:
        """Raise Overloaded where not even one row more is taken: before a request is decoded for nothing."""
        if self.queued_rows >= self._pace.room:
            raise self._full(0, self._pace.room)

    def close(self) -> None:
        """Take no new rows; what is queued is still computed."""
        self._closed = True

    async def drained(self) -> None:
        """Return when the queue is empty and no batch runs."""
        if self.queued_rows or self._busy:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    def _admit(self, entry: Entry) -> None:
        """Raise where the queue is full, or too long for the deadline."""
        queued, now = self.queued_rows, monotonic()
        if now >= entry.deadline:
            raise self._late(entry, now)
        room = self._pace.room
        if queued + entry.rows > min(room, ALWAYS_ROWS):
            room = min(room, _rows_in_memory(entry))
            if queued + entry.rows > room:
                raise self._full(entry.rows, room)
        wait_s = self._pace.wait_s(queued)
        if now + wait_s > entry.deadline:
            raise Overloaded(
                f"{self._subject}: {queued} rows are queued, about {spoken(wait_s)}, and the deadline is sooner", wait_s
            )

    def _full(self, rows: int, room: int) -> Overloaded:
        """The refusal of `rows` more than are queued, where there is room for `room`."""
        queued, wait_s = self.queued_rows, self._pace.wait_s(self.queued_rows)
        more = f" and {rows} more would pass the limit of {room}" if rows else f", the limit is {room}"
        why = "" if room == self._limits.max_queue_rows else f" for {self._limits.max_queue_wait_s:g} s or 256 MiB"
        return Overloaded(
            f"{self._subject}: {queued} rows are queued{more}{why}; they take about {wait_s:.3g} s", wait_s
        )

    def _cut(self, entry: Entry, queue: deque[Part]) -> None:
        """Queue a request that is larger than a batch, as several parts."""
        rows, size = entry.rows, self.batch_rows
        starts = range(0, rows, size)
        entry.open_parts = len(starts)
        entry.results = [None] * len(starts)
        for index, start in enumerate(starts):
            stop = min(start + size, rows)
            queue.append(Part(entry, index, start, stop, stop - start))

    def _pump(self) -> None:
        """Start batches while lanes are idle and rows wait."""
        self._pump_scheduled = False
        if self._filling():
            self._schedule()
            return
        while self.queued_rows and self._busy < self._lanes and not self._gathering():
            parts = self._take()
            if parts and self._start(parts):
                break  # it ran on the loop: let the loop read and write before the next one
        if not self.queued_rows and not self._busy:
            if self._idle is not None:
                self._idle.set_result(None)
                self._idle = None
        elif self.queued_rows and self._busy == self._lanes:
            self._watch_deadlines()
        elif self.queued_rows and self._delay_timer is None:
            self._schedule()

    def _schedule(self) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _filling(self) -> bool:
        """Whether to read once more before a batch that will hold up the loop: while more requests keep coming.

        A tiny batch runs where requests are read, so it costs the same whether it starts now or behind those that are
        on their way; where the last one was a single row, none are.
        """
        rows, seen = self.queued_rows, self._seen_rows
        self._seen_rows = rows
        return (
            seen < rows < self._roomy_rows and self._last_rows > 1 and not self._busy and self._seconds(rows) < INLINE_S
        )

    def _gathering(self) -> bool:
        """Whether to wait on purpose for more rows (`max_queue_delay_s`)."""
        delay = self._limits.max_queue_delay_s
        if delay <= 0 or self._closed:
            return False
        _, queue = self._oldest()
        if sum(part.rows for part in queue) >= self.batch_rows:
            return False
        due = queue[0].entry.arrived + delay
        if monotonic() >= due:
            return False
        if self._delay_timer is None:
            self._delay_timer = self._loop.call_at(due, self._delay_over)
        return True

    def _delay_over(self) -> None:
        self._delay_timer = None
        self._pump()

    def _oldest(self) -> tuple[Key, deque[Part]]:
        """The queue whose first part has waited longest."""
        if len(self._queues) == 1:
            return next(iter(self._queues.items()))
        return min(self._queues.items(), key=lambda item: item[1][0].entry.arrived)

    def _take(self) -> list[Part]:
        """The next batch: parts in order of arrival, without those whose client left or whose deadline passed."""
        key, queue = self._oldest()
        now = monotonic()
        parts: list[Part] = []
        room = self.batch_rows
        while queue and queue[0].rows <= room:
            part = queue.popleft()
            self.queued_rows -= part.rows
            entry = part.entry
            if now < entry.deadline and not entry.reply.done():
                room -= part.rows
                parts.append(part)
            else:
                self._alive(entry, now)
        if not queue:
            del self._queues[key]
        return parts

    def _alive(self, entry: Entry, now: float) -> bool:
        if entry.reply.done():
            return False
        if now < entry.deadline:
            return True
        entry.reply.set_exception(self._late(entry, now))
        return False

    def _late(self, entry: Entry, now: float) -> DeadlineExceeded:
        waited, allowed = now - entry.arrived, entry.deadline - entry.arrived
        if allowed <= 0:
            return DeadlineExceeded(
                f"{self._subject}: the request's deadline had passed before it was queued; timeouts are in microseconds"
            )
        return DeadlineExceeded(
            f"{self._subject}: the request waited {spoken(waited)} in the queue, its deadline was {spoken(allowed)}"
        )

    def _start(self, parts: list[Part]) -> bool:
        """Compute a batch; True when it ran here, on the loop, and is done already."""
        rows = 0
        now = monotonic()
        for part in parts:
            rows += part.rows
            if not part.entry.started:
                part.entry.started = now
        self._busy += 1
        self._last_rows, self._seen_rows = rows, 0
        self.inflight_rows += rows
        if self._seconds(rows) < INLINE_S:
            self._finish(parts, rows, now, self._guarded(parts))
            return True
        future = self._loop.run_in_executor(self._executor, self._guarded, parts)
        future.add_done_callback(lambda done: self._landed(parts, rows, now, done.result()))
        return False

    def _guarded(self, parts: list[Part]) -> BatchResult | BaseException:
        """The batch's result; an exception as a value, because the lane must be given back whatever happens."""
        try:
            return self._run(parts)
        except Exception as error:
            return error

    def _landed(self, parts: list[Part], rows: int, started: float, result: BatchResult | BaseException) -> None:
        self._finish(parts, rows, started, result)
        self._pump()

    def _finish(self, parts: list[Part], rows: int, started: float, result: BatchResult | BaseException) -> None:
        now = monotonic()
        seconds = now - started
        self._busy -= 1
        self.inflight_rows -= rows
        self._pace.computed(rows, seconds, now, self.queued_rows)
        if isinstance(result, BatchResult):
            for part, outcome in zip(parts, result.parts, strict=True):
                self._deliver(part, outcome, seconds)
        else:
            for part in parts:
                if not part.entry.reply.done():
                    part.entry.reply.set_exception(result)
        self._done(parts, result, seconds)

    def _deliver(self, part: Part, outcome: Outcome, seconds: float) -> None:
        entry = part.entry
        entry.open_parts -= 1
        entry.compute_s += seconds
        if entry.results is not None:
            entry.results[part.index] = outcome
            if entry.open_parts:
                return
            outcome = join(entry)
        reply = entry.reply
        if reply.done():
            return  # a cancelled client must never keep its batch-mates from their answers
        if isinstance(outcome, Answer):
            outcome.version = self._version
            outcome.queue_s = entry.started - entry.arrived
            outcome.compute_s = entry.compute_s
            entry.answered = True
            reply.set_result(outcome)
        else:
            reply.set_exception(outcome)

    def _watch_deadlines(self) -> None:
        """One timer at the earliest deadline in the queue: a full lane must not delay a 504."""
        earliest = min(part.entry.deadline for queue in self._queues.values() for part in queue)
        if self._sweep_timer is not None:
            if self._sweep_timer.when() <= earliest:
                return
            self._sweep_timer.cancel()
        self._sweep_timer = self._loop.call_at(earliest, self._sweep)

    def _sweep(self) -> None:
        self._sweep_timer = None
        now = monotonic()
        for key, queue in list(self._queues.items()):
            alive = deque(part for part in queue if self._alive(part.entry, now))
            self.queued_rows -= sum(p.rows for p in queue) - sum(p.rows for p in alive)
            if alive:
                self._queues[key] = alive
            else:
                del self._queues[key]
        self._pump()


def _rows_in_memory(entry: Entry) -> int:
    """How many rows like the entry's may wait at once."""
    size = sum(
        sum(map(len, array.ravel().tolist())) if array.dtype.hasobject else array.nbytes
        for array in entry.feeds.values()
    )
    return max(ALWAYS_ROWS, MAX_QUEUE_BYTES * entry.rows // max(1, size))
