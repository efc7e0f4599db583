"""What the export and the process that talks to Ray tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.training.engines.engine import Task


@dataclass(frozen=True)
class Connected:
    """There is a cluster; so many processors are for training."""

    workers: int


@dataclass(frozen=True)
class Refused:
    """Why there is none, or why it takes no tasks; one line."""

    reason: str


@dataclass(frozen=True)
class Order:
    """Train these; `context` is a file with what they work on."""

    tasks: tuple[Task, ...]
    context: Path


@dataclass(frozen=True)
class Finished:
    """All tasks of an order have an outcome."""
