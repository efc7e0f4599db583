"""Progress of an export on stderr: bars for people, plain lines where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from exporter.optimisation.run import EpochDone, StepsDone
from exporter.training.engines.engine import Again, Began, Done, Epoch, Event, Failed

_FIRST_S, _LATER = 5.0, 1.5
"""A training's first line on no terminal comes after so many seconds, each next after so many times as long."""


class Shown(Protocol):
    """What tells people how far an export is."""

    def report(self, step: str, done: int, total: int) -> None:
        """A step is done; `done` of `total` are."""
        ...

    def watch(self, event: Event) -> None:
        """Something happened in a training."""
        ...


@contextmanager
def progress(title: str) -> Iterator[Shown]:
    """Bars that move; on exit they stay as they are."""
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield Lines(title)
        return
    with Progress(
        TextColumn("[bold]{task.fields[title]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
    ) as bars:
        yield Bars(bars, title)


class Lines:
    """One line for each step, and ever fewer of each training that runs."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._next: dict[str, tuple[float, float]] = {}
        """By task: when its next line may come, and the time to the one after."""

    def report(self, step: str, done: int, total: int) -> None:
        """A line."""
        self._print(f"{step} ({done}/{total})")

    def watch(self, event: Event) -> None:
        """A line where it is due; what goes wrong at once."""
        if isinstance(event, Began):
            self._next[event.task.digest] = (time.monotonic() + _FIRST_S, _FIRST_S)
        elif isinstance(event, Epoch):
            due, wait = self._next.get(event.task.digest, (0.0, _FIRST_S))
            if (now := time.monotonic()) >= due or isinstance(event.done, StepsDone):  # those were asked for
                self._next[event.task.digest] = (now + wait * _LATER, wait * _LATER)
                self._print(f"{event.task.label}: {told(event.done)}, {event.worker}")
        elif isinstance(event, Again):
            self._print(f"{event.reason}; once more")
        elif isinstance(event, Failed):
            self._print(f"failed: {event.reason}")

    def _print(self, text: str) -> None:
        print(f"{self._title}: {text}", file=sys.stderr, flush=True)


class Bars:
    """A bar of all steps, and one for each training that runs."""

    def __init__(self, bars: Progress, title: str) -> None:
        self._bars = bars
        self._all = bars.add_task("", total=None, title=title)
        self._running: dict[str, TaskID] = {}

    def report(self, step: str, done: int, total: int) -> None:
        """The bar of all."""
        self._bars.update(self._all, description=step, completed=done, total=total)

    def watch(self, event: Event) -> None:
        """The bar of the event's task; it goes when the task is done."""
        key = event.task.digest
        if isinstance(event, Began):
            self._end(key)
            self._running[key] = self._bars.add_task(event.worker, total=None, title=f"  {event.task.label}")
        elif isinstance(event, Epoch) and key in self._running:
            self._bars.update(
                self._running[key], completed=event.done.epoch, total=event.done.epochs,
                description=f"{_figures(event.done)}, {event.worker}",
            )  # fmt: skip
        elif isinstance(event, Again | Failed | Done):
            self._end(key)
            if not isinstance(event, Done):
                more = "; once more" if isinstance(event, Again) else ""
                self._bars.console.print(f"{event.reason}{more}", markup=False)

    def _end(self, key: str) -> None:
        if key in self._running:
            self._bars.remove_task(self._running.pop(key))


def told(done: EpochDone) -> str:
    """`epoch 7/25, loss 0.1234`."""
    if isinstance(done, StepsDone):
        return f"epoch {done.point.epoch:.2f}/{done.epochs}, step {done.point.step}, {_figures(done)}"
    return f"epoch {done.epoch}/{done.epochs}, {_figures(done)}"


def _figures(done: EpochDone) -> str:
    network = f"network {done.network + 1}, " if done.network else ""
    figures = f"{network}loss {done.loss:.4g}"
    if isinstance(done, StepsDone):
        if done.point.accuracy is not None:
            figures += f", accuracy {done.point.accuracy:.4f}"
        figures += "".join(f", held-out {name} {value:.4f}" for name, value in done.point.validation.items())
    return figures
