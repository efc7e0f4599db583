"""Workers that died, by the task that each had: whose fault is it?"""

from __future__ import annotations

import signal
from collections import Counter

from exporter.training.engines.engine import MOST_DEATHS, Again, Failed, Task, Tell


class Deaths:
    """Counts the workers that a task has cost, and says when it had enough of them."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._counts: Counter[str] = Counter()

    def of(self, task: Task, reason: str) -> Failed | None:
        """None: the task goes to another worker, which is told. `reason` names the member."""
        self._counts[task.digest] += 1
        if self._counts[task.digest] < MOST_DEATHS:
            self._tell(Again(task, reason))
            return None
        return Failed(task, f"{reason}, {MOST_DEATHS} times")


def how_ended(status: int | None) -> str:
    """Of a process, by its status as `multiprocessing` gives it: negative, the signal that killed it."""
    if status is None or status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    memory = "; out of memory?" if -status == signal.SIGKILL else ""
    return f"was killed by signal {-status} ({name}{memory})"
