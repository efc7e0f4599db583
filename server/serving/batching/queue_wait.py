"""How long rows wait for a lane, by what was measured at load and by what is seen, and how many may wait.

Time is what a client feels, so time is the limit; a number of rows bounds memory only.
"""

from __future__ import annotations

from collections.abc import Callable

from model_repo import Batching

SMOOTHING = 0.1
"""Weight of the newest batch in the moving estimates."""
FORGET_S = 10.0
"""A pace that was seen before the queue was empty for so long says nothing about the next rush."""
MOST_STEP = 10.0
"""A batch counts at most as so many times slower than those before: the loop may have stood still meanwhile."""


class Pace:
    """The pace of one batcher. Event-loop thread only.

    `room`: rows that may be queued. At least one batch for each lane, however long it takes; beyond that as many as
    are computed within `max_queue_wait_s`, and never more than `max_queue_rows`.
    `slowdown`: how much longer batches take than was measured at load, a moving mean.
    """

    def __init__(self, limits: Batching, batch_rows: int, lanes: int, seconds: Callable[[int], float]) -> None:
        self._seconds = seconds
        self._batch_rows = batch_rows
        self._lanes = lanes
        self._longest_s = limits.max_queue_wait_s
        self._least = min(lanes * batch_rows, limits.max_queue_rows)
        self._most = limits.max_queue_rows
        self._row_s = 0.0
        """Seconds between two rows that leave, all lanes together, while others wait; 0 where none have been seen."""
        self._last = 0.0
        self._waiting_since = 0.0
        self.slowdown = 1.0
        self.room = 0
        self._make_room()

    def wait_s(self, rows: int) -> float:
        """Estimated seconds until that many queued rows have started; 0 where nothing was measured."""
        return rows * self._row_s if self._row_s else self._measured(rows)

    def computed(self, rows: int, seconds: float, now: float, queued: int) -> None:
        """A batch of `rows` took `seconds` and ended `now` (monotonic clock); `queued` rows wait still."""
        if expected := self._seconds(rows):
            ratio = min(max(seconds / expected, 0.1), 100.0)
            self.slowdown += SMOOTHING * (ratio - self.slowdown)
        if since := self._waiting_since:
            self._see((now - since) / rows)
        elif queued and self._row_s and now - self._last > FORGET_S:
            self._row_s = 0.0
            self._make_room()
        if queued:
            self._waiting_since = self._last = now
        else:
            self._waiting_since = 0.0

    def _see(self, row_s: float) -> None:
        known = self._row_s or self._measured(self._batch_rows) / self._batch_rows
        if known:
            row_s = known + SMOOTHING * (min(row_s, MOST_STEP * known) - known)
        self._row_s = row_s
        self._make_room()

    def _measured(self, rows: int) -> float:
        batches = -(-rows // self._batch_rows)
        return batches * self._seconds(min(rows, self._batch_rows)) * self.slowdown / self._lanes

    def _make_room(self) -> None:
        row_s = self._row_s or self._measured(self._batch_rows) / self._batch_rows
        soon = int(self._longest_s / row_s) if row_s > 0.0 else self._most
        self.room = min(max(soon, self._least), self._most)
