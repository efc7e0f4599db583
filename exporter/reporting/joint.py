"""Who trained jointly, how, and how alike their errors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from exporter.reporting.diversity import Diversity


class Jointly(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Members of one export that were trained together."""

    pace: str
    """synchronous or asynchronous."""
    members: tuple[str, ...]
    independence: float
    fused: str
    """What was fused in training: geometric or mean."""
    decorrelation: float = 0.0
    mutual: float = 0.0
    error_correlation: float | None = None
    """The mean over pairs of these members, on validation rows; None where it is not known."""
    with_others: float | None = None
    """The same of pairs of one of these and one that trained by itself."""

    def sentence(self) -> str:
        """The line of the leaderboard."""
        facts = [self.pace, f"independence {self.independence:g}", self.fused]
        facts += [f"{name} {value:g}" for name, value in self._terms() if value]
        told = f"Trained jointly ({', '.join(facts)}): {', '.join(self.members)}"
        if self.error_correlation is None:
            return f"{told}."
        beside = "" if self.with_others is None else f", with members trained by themselves by {self.with_others:.2f}"
        return f"{told}; their errors correlate by {self.error_correlation:.2f} in the mean{beside}."

    def summary(self) -> dict[str, Any]:
        """The short form for a manifest's report."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}

    def _terms(self) -> tuple[tuple[str, float], ...]:
        return ("decorrelation", self.decorrelation), ("mutual", self.mutual)


def correlation_between(found: Diversity | None, first: Sequence[str], second: Sequence[str]) -> float | None:
    """The mean error correlation of pairs of one of `first` and another of `second`; None where there is none."""
    if found is None:
        return None
    pairs = [
        value
        for a, row in zip(found.members, found.error_correlation, strict=True)
        for b, value in zip(found.members, row, strict=True)
        if a in first and b in second and a != b and value is not None
    ]
    return float(np.mean(pairs)) if pairs else None
