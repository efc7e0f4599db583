"""A small set of series by the hour, one of which follows another."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np


def hours(path: Path, steps: int = 420, seed: int = 2) -> None:
    """A CSV of date, load and OT: a day's rhythm, and a temperature that follows the load by three hours."""
    random = np.random.default_rng(seed)
    time = np.arange(steps)
    load = 10 + 4 * np.sin(time * 2 * np.pi / 24) + random.normal(0, 0.3, steps)
    heat = 20 + np.roll(load, 3) + np.cumsum(random.normal(0, 0.05, steps))
    start = datetime(2016, 7, 1)
    lines = ["date,load,OT"]
    lines += [f"{start + timedelta(hours=int(t))},{load[t]:.4f},{heat[t]:.4f}" for t in time]
    path.write_text("\n".join(lines) + "\n")
