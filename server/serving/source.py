"""When to look at the repository: at file events, at a slow poll behind them, and when asked."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from watchfiles import Change, awatch

EVENT_STEP_MS = 10
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

    def notify(self) -> None:
        """Ask for a look now."""
        self._changed.set()

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
                await self._watch()
            except (FileNotFoundError, OSError, RuntimeError) as error:
                # No folder yet, or no watches left: the poll goes on, and the watch is tried again behind it.
                log.debug("no file events from '%s': %s", self._root, error)
            await asyncio.sleep(self._poll_interval_s)

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


def _concerns_versions(_: Change, path: str) -> bool:
    """Not the staging folders, which are somebody's work in progress, nor lock files."""
    return not any(part.startswith(".") for part in Path(path).parts[-4:])
