"""Progress of an export on stderr: a bar for people, plain lines where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from exporter.training.run import Report


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A Report that moves the bar. On exit the bar stays as it is."""
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield lambda step, done, total: print(f"{title}: {step} ({done}/{total})", file=sys.stderr, flush=True)
        return
    columns = (
        TextColumn("[bold]{task.fields[title]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, title=title)

        def report(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total)

        yield report
