"""What one call of `tutti export` asks for, besides the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exporter.optimisation.spec import Device, Precision

EngineName = Literal["local", "torchrun", "ray"]


@dataclass(frozen=True)
class Options:
    """Where data comes from, where results go, and on what."""

    repository: Path
    data: Path | None = None
    preset: str = "balanced"
    device: Device = "cpu"
    precision: Precision = "float32"
    """Of products in networks while they train; what is converted and compared is float32."""
    compile: bool = False
    """Networks are trained through torch.compile, where that works."""
    workers: int = 0
    """Training processes, of any engine; 0: one per core, and one alone on a GPU."""
    engine: EngineName = "local"
    """Who starts them."""
    address: str | None = None
    """Of a Ray cluster that runs: HOST:PORT or auto; None: one is started here."""
    resume: bool = False
    """Take over finished members of an earlier, interrupted export."""
    work: Path | None = None
    """Where finished members are kept meanwhile; None: a hidden folder in the repository, removed at the end."""
    report: Path | None = None
    """Folder of the leaderboard; None: reports/NAME-VERSION."""
