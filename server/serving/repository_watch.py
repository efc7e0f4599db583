"""When to look at the repository: at file events, at a slow poll behind them, and when asked."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from watchfiles import Change, awatch

if sys.platform == "linux":
    from server.serving.inotify import Watch

EVENT_STEP_MS = 5
"""How long events must pause before a look; publishing is one rename, so there is little to wait for."""
EVENT_DEBOUNCE_MS = 100
"""Longest time that a stream of events may hold back a look."""

log = logging.getLogger("tutti.source")


class Source:
    """Tells when the repository may have changed. Misses nothing for longer than `poll_interval_s` seconds."""

    def __init__(self, root: Path, poll_interval_s: float) -> None:
        self._root = root
        self._poll_interval_s = poll_interval_s
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Return at the next change, or when the poll interval is over."""
        try:
            async with asyncio.timeout(self._poll_interval_s):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    async def run(self) -> None:
        """Turn file events into changes, for ever; where the file system sends none, the poll remains."""
        while True:
            try:
                if sys.platform == "linux":
                    await self._watch_linux()
                else:
                    await self._watch()
            except (FileNotFoundError, OSError, RuntimeError) as error:
                # No folder yet, or no watches left: the poll goes on, and the watch is tried again behind it.
                log.debug("no file events from '%s': %s", self._root, error)
            await asyncio.sleep(self._poll_interval_s)

    async def _watch_linux(self) -> None:
        loop = asyncio.get_running_loop()
        watch = await asyncio.to_thread(Watch, self._root)
        ended: asyncio.Future[None] = loop.create_future()
        pending = Pending(loop, self._changed)
        try:
            loop.add_reader(watch.fileno(), _read, watch, pending, ended)
            self._changed.set()  # what happened before the watch began
            await ended
        finally:
            loop.remove_reader(watch.fileno())
            pending.cancel()
            watch.close()
            self._changed.set()

    async def _watch(self) -> None:
        events = awatch(
            self._root,
            watch_filter=_concerns_versions,
            debounce=EVENT_DEBOUNCE_MS,
            step=EVENT_STEP_MS,
            ignore_permission_denied=True,
        )
        self._changed.set()  # what happened before the watch began
        async for _ in events:
            self._changed.set()


class Pending:
    """A change that is told once events have paused, or have held it back for long enough."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
        self._loop = loop
        self._changed = changed
        self._first = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def event(self) -> None:
        """Something happened now."""
        now = self._loop.time()
        if self._timer is None:
            self._first = now
        else:
            self._timer.cancel()
        due = min(now + EVENT_STEP_MS / 1e3, self._first + EVENT_DEBOUNCE_MS / 1e3)
        self._timer = self._loop.call_at(due, self._tell)

    def cancel(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        self._changed.set()


def _read(watch: Watch, pending: Pending, ended: asyncio.Future[None]) -> None:
    try:
        if watch.read():
            pending.event()
    except OSError as error:
        if not ended.done():
            ended.set_exception(error)


def _concerns_versions(_: Change, path: str) -> bool:
    """Not the staging folders, which are somebody's work in progress, nor lock files."""
    return not any(part.startswith(".") for part in Path(path).parts[-4:])
