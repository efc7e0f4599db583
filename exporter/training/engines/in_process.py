"""One task after another in this process: the engine of one worker."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from exporter.threads import one_thread
from exporter.training.engines.engine import Began, Done, Epoch, Failed, Given, Outcome, Result, Task, Tell
from exporter.training.engines.queue import Queue, seconds_of
from exporter.training.engines.worker import Failure, Seldom, attempt

_WORKER = "this process"


class InProcess:
    """No worker but this process; nothing to start, nothing to end."""

    def run(self, tasks: Sequence[Task], given: Given, tell: Tell) -> Generator[Outcome, None, None]:
        """See `Engine`. Of gangs it trains none."""
        queue = Queue(tasks)
        with one_thread():
            while (task := queue.take(1)) is not None:
                tell(Began(task, _WORKER))
                found = attempt(task, given, _observer(task, tell))
                if not isinstance(found, Failure):
                    queue.learn(task, seconds_of(found))
                yield outcome_of(task, found, _WORKER)


def _observer(task: Task, tell: Tell) -> Seldom:
    return Seldom(lambda done: tell(Epoch(task, _WORKER, done)))


def outcome_of(task: Task, found: Result | Failure, worker: str) -> Outcome:
    """What an attempt came to. Raises ModuleNotFoundError where a library is missing."""
    if not isinstance(found, Failure):
        return Done(task, found, worker)
    if found.missing:
        raise ModuleNotFoundError(found.reason, name=found.missing)
    return Failed(task, found.reason, found.trace)
