"""Threads of low priority for what loading computes: requests come first.

Computing only. Whoever holds the interpreter's lock while it waits for a core makes every request wait with it, so
threads that load have the usual priority, and hand over what runs without that lock.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from server.time_slices import prefer_late

T = TypeVar("T")

NICENESS = 10
"""Of these threads. Measuring fills a core for as long as it takes."""


class Background:
    """So many threads of low priority. Work that they do must not hand work to them."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "tutti-background", initializer=_yield_to_requests)

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work` gives, or raises."""
        return self._threads.submit(work).result()

    def close(self) -> None:
        """End the threads once they are idle."""
        self._threads.shutdown()


def _yield_to_requests() -> None:
    """Lower the calling thread's priority; Linux has one for each thread, elsewhere nothing is done."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        prefer_late()
