"""What every worker of every engine does with a task."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]  # its list of exports lacks it

from exporter.errors import ExportError, WorkerLost
from exporter.optimisation.checkpoints import Checkpoints
from exporter.optimisation.loop import Exchange
from exporter.optimisation.run import EpochDone, Run, StepsDone
from exporter.optimisation.spec import Device
from exporter.training.checkpoints import CheckpointFiles
from exporter.training.engines.engine import Given, Result, Task
from exporter.training.joint import run_unit

EVERY_S = 0.25
"""Between two reports of a worker."""
_MEET_S = 120
"""What the members of a gang wait for each other: imports take seconds, and a busy machine more."""


@dataclass(frozen=True)
class Failure:
    """Why a task gave nothing."""

    reason: str
    """One line that names the member."""
    again: bool = False
    """It may go well elsewhere: memory, unlike arithmetic, differs."""
    missing: str = ""
    """A package that is not installed: no other task would do better."""
    trace: str = ""
    """Of an error that nobody expected."""


def attempt(
    task: Task, given: Given, observe: Callable[[EpochDone], None], exchange: Exchange | None = None
) -> Result | Failure:
    """The task's results, or why there is none. Of a gang each worker calls it with the exchange."""
    exchange = exchange or Exchange()

    def checkpoints(network: int) -> Checkpoints | None:
        # Those that train jointly keep no snapshots: a group that was ended begins anew.
        keeps = given.keeps and len(task.jobs) == 1
        return CheckpointFiles(given.work / task.digest, network, exchange.rank) if keeps else None

    runs = [Run(exchange=exchange, observe=observe, checkpoints=checkpoints) for _ in task.jobs]
    return guarded(task, lambda: tuple(run_unit(task.jobs, given.dataset, given.split, runs)))


def guarded(task: Task, train: Callable[[], Result]) -> Result | Failure:
    """What `train` gives, or in one line why it gives nothing."""
    try:
        return train()
    except WorkerLost as error:
        return Failure(str(error), again=True)
    except ExportError as error:
        return Failure(str(error))
    except ModuleNotFoundError as error:
        return Failure(f"{task.title}: needs the package {error.name!r}", missing=error.name or "")
    except Exception as error:
        if _of_memory(error):
            return Failure(f"{task.title}: out of memory: {_line(error)}", again=True)
        return Failure(f"{task.title}: {type(error).__name__}: {_line(error)}", trace=traceback.format_exc())


def _of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


@contextmanager
def process_group(store: Store, rank: int, ranks: int, device: Device) -> Iterator[None]:
    """The process group of workers that train one task together; gone afterwards."""
    if device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=_MEET_S))
    try:
        yield
    finally:
        dist.destroy_process_group()


class Seldom:
    """Passes on a report now and then: what hears of it must not slow what it hears of, or end it."""

    def __init__(self, send: Callable[[EpochDone], None], every_s: float = EVERY_S) -> None:
        self._send, self._every_s, self._next = send, every_s, 0.0

    def __call__(self, done: EpochDone) -> None:
        """Send, unless the last was just now and nobody asked for it; whether it arrives is nobody's concern."""
        now = time.monotonic()
        if now < self._next and not isinstance(done, StepsDone):
            return
        self._next = now + self._every_s
        try:
            self._send(done)
        except (OSError, ValueError):
            return
