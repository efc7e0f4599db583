"""How soon a thread gets a core when it wakes: time slices of the calling thread, on Linux from 6.12 on.

Where every core is busy, the scheduler lets a thread run its slice to its end, 3 ms and more, before one that has just
woken. A thread with a shorter slice need not wait for that, though over time it gets no more than its share. The event
loop works for microseconds at a time and must not wait behind batches for each of them. Needs no privilege; elsewhere,
and on older kernels, nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Any

PROMPT_NS = 100_000
"""The shortest that the kernel takes."""
PATIENT_NS = 20_000_000
"""For what nobody waits for: all others may come first."""

_SETATTR = {"x86_64": 314, "aarch64": 274}
_RESET_ON_FORK = 1
_SCHED_OTHER = 0


class Attributes(ctypes.Structure):
    """`struct sched_attr` in its first size."""

    _fields_ = [
        ("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64), ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64), ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    ]  # fmt: skip


def prefer_soon() -> bool:
    """Give the calling thread the shortest slice; threads that it starts have the usual one. Whether it was given."""
    return _slice(PROMPT_NS)


def prefer_late() -> bool:
    """Give the calling thread a long slice: whatever wakes on its core comes first. Whether it was given."""
    return _slice(PATIENT_NS)


def _slice(nanoseconds: int) -> bool:
    number = _SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != _SCHED_OTHER:
        return False  # under another policy the same field means another thing
    size = ctypes.sizeof(Attributes)
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice < 0:
        return False  # threads that it starts would be reset to 0: whoever gave the priority meant all of the server
    wanted = Attributes(size=size, policy=_SCHED_OTHER, flags=_RESET_ON_FORK, nice=nice, runtime=nanoseconds)
    libc: Any = ctypes.CDLL(None)
    return bool(libc.syscall(number, 0, ctypes.byref(wanted), 0) == 0)
