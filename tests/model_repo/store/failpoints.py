"""Stop a process at its n-th call to the operating system, or let that call fail.

The repository writes through `os`, so wrapping these functions there counts every step that changes
the disk or makes a change durable.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

COUNTED = ("open", "write", "fsync", "close", "mkdir", "rename", "replace", "unlink", "rmdir", "scandir", "listdir")
# The ways a full or failing disk answers; `close` and the listings only ever stop the process.
FAILING = ("open", "write", "fsync", "mkdir", "rename", "replace")

Effect = Literal["kill", "fail"]


@contextmanager
def failpoint(step: int, effect: Effect) -> Iterator[list[str]]:
    """Within the block, the `step`-th counted call (from 1) kills the process or raises ENOSPC.

    Gives the list of the calls made. A write that is hit writes half of its bytes first.
    """
    names = COUNTED if effect == "kill" else FAILING
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in names}
    calls: list[str] = []

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == step:
                if name == "write":
                    real["write"](arguments[0], arguments[1][: len(arguments[1]) // 2])
                if effect == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real[name](*arguments, **options)

        return call

    for name in names:
        setattr(os, name, wrapped(name))
    try:
        yield calls
    finally:
        for name, function in real.items():
            setattr(os, name, function)
