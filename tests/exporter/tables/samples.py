"""A small table with gaps, rare words, and a target that follows from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

JOBS = ("clerk", "farmer", "nurse", "Müller")


def people(path: Path, rows: int = 400, seed: int = 5) -> None:
    """A CSV of age, pay, job, town and the class `kind` (of three) with its value `score`."""
    random = np.random.default_rng(seed)
    lines = ["age,pay,job,town,kind,score"]
    for row in range(rows):
        age, pay = random.integers(18, 80), random.normal(30, 9)
        job, town = random.integers(len(JOBS)), random.integers(2)
        score = 0.05 * age + (job == 2) * 2 - town + random.normal(0, 0.3)
        told = "" if random.random() < 0.1 else str(age)
        work = "?" if random.random() < 0.1 else JOBS[job]
        place = "hamlet" if row == 7 else ("north", "south")[town]
        kind = ("low", "middle", "high")[int(np.digitize(score, [1.5, 3.0]))]
        lines.append(f"{told},{pay:.2f},{work},{place},{kind},{score:.4f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
