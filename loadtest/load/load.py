"""The load itself: requests that are due go out on idle connections, and each one's fate is recorded."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from loadtest.load.alarm import Alarm
from loadtest.load.outcome import ANSWERED, Outcome, explain, judge
from loadtest.load.record import Record
from loadtest.load.target import Target
from loadtest.load.wire import Connection, Reply, connect

RECONNECT_S = 0.05
"""Pause of a closed-loop client after a lost connection, so that a server that is down is not hammered."""


class Load:
    """One load on one target; each of its two loops may be run once. Event-loop thread only.

    At most `connections` are open; a request that finds none idle waits, and its waiting counts as latency.
    `timeout_s` is each request's, from its scheduled time: the run's end is bounded by it.
    """

    def __init__(self, target: Target, record: Record, *, connections: int, timeout_s: float) -> None:
        self._address = target.address
        self._requests = itertools.cycle(target.requests)
        self._record = record
        self._most = connections
        self._timeout_s = timeout_s
        self._numbers = itertools.count()
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: deque[tuple[float, float]] = deque()  # (scheduled, started)
        self._opening = 0
        self._in_flight = 0
        self._finished = asyncio.Event()
        self._more: Callable[[], bool] = lambda: False  # whether a request is still to come
        self._on_answer: Callable[[Outcome], None] = lambda outcome: None
        self._crash: BaseException | None = None
        self._group: asyncio.TaskGroup | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    async def open_loop(self, start: float, due_times: Iterator[float]) -> None:
        """Send a request at `start` + each due time, whatever the answers do; ends with the last fate."""
        upcoming = next(due_times, None)

        def dispatch() -> None:
            nonlocal upcoming
            now = time.monotonic()
            while upcoming is not None and start + upcoming <= now:
                self._launch(start + upcoming, now)
                upcoming = next(due_times, None)
            if upcoming is not None:
                alarm.set(start + upcoming)
            self._check_finished()

        self._more = lambda: upcoming is not None
        alarm = Alarm(dispatch)
        try:
            await self._run(dispatch)
        finally:
            alarm.close()

    async def closed_loop(self, until: Callable[[], bool]) -> None:
        """Each connection sends its next request when its last is answered, until `until()` holds."""
        loop = asyncio.get_running_loop()

        def again() -> None:
            if not until():
                now = time.monotonic()
                self._launch(now, now)

        def answered(outcome: Outcome) -> None:
            if outcome is Outcome.CONNECTION:
                loop.call_later(RECONNECT_S, again)
            else:
                again()

        def begin() -> None:
            for _ in range(self._most):
                again()

        self._more = lambda: not until()
        self._on_answer = answered
        await self._run(begin)

    async def _run(self, begin: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._crashed)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                sweeper = group.create_task(self._sweep())
                begin()
                await self._finished.wait()
                for task in (sweeper, *self._connecting):
                    task.cancel()
        finally:
            loop.set_exception_handler(None)
            for connection in list(self._open):
                connection.close()
        if self._crash is not None:
            raise RuntimeError("a crash in a callback of the load generator is a bug") from self._crash

    def _crashed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._crash = context.get("exception") or RuntimeError(context["message"])
        self._finished.set()

    def _launch(self, scheduled: float, started: float) -> None:
        self._in_flight += 1
        if self._idle:
            self._send(self._idle.pop(), scheduled, started)
            return
        self._waiting.append((scheduled, started))
        self._open_more()

    def _send(self, connection: Connection, scheduled: float, started: float) -> None:
        connection.scheduled = scheduled
        connection.started = started
        connection.send(next(self._requests))

    def _open_more(self) -> None:
        if self._group is None or self._finished.is_set():
            return
        while self._opening < len(self._waiting) and self._opening + len(self._open) < self._most:
            self._opening += 1
            task = self._group.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await connect(self._address, next(self._numbers), self._replied, self._lost)
        except (OSError, TimeoutError) as error:
            self._opening -= 1
            if self._waiting:
                reason = str(error) or "no connection in time"
                self._decide(*self._waiting.popleft(), Outcome.CONNECTION, reason=reason)
            self._open_more()
            return
        self._opening -= 1
        if connection.usable:
            self._open.add(connection)
            self._ready(connection)
        else:  # closed while it was being opened
            self._open_more()

    def _ready(self, connection: Connection) -> None:
        if not connection.usable:
            return
        if self._waiting:
            self._send(connection, *self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _replied(self, connection: Connection, reply: Reply) -> None:
        now = time.monotonic()
        outcome, version = judge(reply)
        if outcome not in ANSWERED and outcome not in self._record.examples:
            self._record.explain(outcome, explain(reply))
        scheduled, started = connection.scheduled, connection.started
        self._record.add(scheduled, started, now, outcome, version=version, connection=connection.number)
        self._in_flight -= 1
        self._ready(connection)
        self._on_answer(outcome)
        self._check_finished()

    def _lost(self, connection: Connection, reason: str) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.busy:
            connection.busy = False
            self._decide_sent(connection, Outcome.CONNECTION, reason)
        self._open_more()

    async def _sweep(self) -> None:
        """Give up on requests that are over their time; a timer for each request would cost more than it."""
        tick_s = min(0.25, max(0.01, self._timeout_s / 20))
        while True:
            await asyncio.sleep(tick_s)
            over = time.monotonic() - self._timeout_s
            for connection in [c for c in self._open if c.busy and c.scheduled < over]:
                connection.busy = False
                connection.close()
                self._decide_sent(connection, Outcome.TIMEOUT, f"no answer within {self._timeout_s:g} s")
            while self._waiting and self._waiting[0][0] < over:
                reason = f"no free connection within {self._timeout_s:g} s"
                self._decide(*self._waiting.popleft(), Outcome.TIMEOUT, reason=reason)
            self._check_finished()

    def _decide_sent(self, connection: Connection, outcome: Outcome, reason: str) -> None:
        self._decide(connection.scheduled, connection.started, outcome, reason=reason, connection=connection.number)

    def _decide(self, scheduled: float, started: float, outcome: Outcome, *, reason: str, connection: int = -1) -> None:
        self._record.explain(outcome, reason)
        self._record.add(scheduled, started, time.monotonic(), outcome, connection=connection)
        self._in_flight -= 1
        self._on_answer(outcome)
        self._check_finished()

    def _check_finished(self) -> None:
        if self._in_flight == 0 and not self._more():
            self._finished.set()
