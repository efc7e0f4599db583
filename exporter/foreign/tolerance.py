"""How far apart a user lets two answers be that ought to be the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """|a − b| ≤ atol + rtol × |b|; None: what suits the numbers."""

    atol: float | None = None
    rtol: float | None = None
