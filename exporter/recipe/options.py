"""What one call of `tutti export` asks for, besides the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.optimisation.spec import Device


@dataclass(frozen=True)
class Options:
    """Where data comes from, where results go, and on what."""

    repository: Path
    data: Path | None = None
    preset: str = "balanced"
    device: Device = "cpu"
    workers: int = 0
    """Training processes; 0: one per core, and one alone on a GPU."""
    resume: bool = False
    """Take over finished members of an earlier, interrupted export."""
    work: Path | None = None
    """Where finished members are kept meanwhile; None: a hidden folder in the repository, removed at the end."""
    report: Path | None = None
    """Folder of the leaderboard; None: reports/NAME-VERSION."""
