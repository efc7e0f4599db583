"""A timer finer than the event loop's.

epoll rounds a loop's timers up to whole milliseconds, which would put half a millisecond of the generator's
own lag into every latency. A Linux timer file descriptor wakes the loop within tens of microseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # as in <sys/timerfd.h>


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """Calls back on the running loop at a time of `time.monotonic`; one time at once."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._descriptor = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
            if self._descriptor >= 0:
                self._loop.add_reader(self._descriptor, self._rang)

    def set(self, when: float) -> None:
        """Ring at `when`, instead of any time set before; a time that is past rings at once."""
        if self._descriptor < 0:
            self._cancel()
            self._handle = self._loop.call_later(max(0.0, when - time.monotonic()), self._callback)
            return
        nanoseconds = max(1, int(when * 1e9))  # 0 would disarm
        self._settime(_Itimerspec(0, 0, nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000))

    def close(self) -> None:
        """Never ring again."""
        self._cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _rang(self) -> None:
        self._settime(_Itimerspec())  # disarm: clears the descriptor's readiness without a read
        self._callback()

    def _settime(self, value: _Itimerspec) -> None:
        if self._libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(value), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
