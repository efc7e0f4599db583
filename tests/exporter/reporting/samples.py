"""Made-up members whose quality and kinship are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exporter.fusing.ledger import Ledger
from model_repo.format.manifest import Kind
from server.runtime.answer.calibration import calibrate

Floats = NDArray[np.float64]


def classified(
    noises: Sequence[float], rows: int = 800, classes: int = 4, seed: int = 0
) -> tuple[list[Floats], NDArray[np.int64]]:
    """Probabilities [rows, classes] of members that see the truth through noise, and classes drawn from the truth."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.3), rows)
    y = np.minimum((p.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1), classes - 1).astype(np.int64)
    return [calibrate(np.log(p + 1e-6) + rng.normal(0, noise, p.shape), "logits") for noise in noises], y


def ledger(members: dict[str, Floats], y: NDArray[np.int64]) -> Ledger:
    """Their answers as a ledger of fusion rows."""
    rows = np.arange(len(y), dtype=np.int64)
    outputs = tuple(p.astype(np.float32) for p in members.values())
    kinds: tuple[Kind, ...] = tuple("probabilities" for _ in members)
    return Ledger(tuple(members), kinds, rows, y, np.full(len(y), -1, dtype=np.int64), outputs)
