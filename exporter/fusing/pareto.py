"""Which members, alone or together, nothing else beats in both loss and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A member alone, or a rule over some of the members."""

    members: tuple[str, ...]
    rule: str
    """`single` for one member alone."""
    latency_ms: float
    """Of one row: its members one after the other on one thread, without the rule itself."""
    validation: float
    """The loss on validation rows that neither members nor rule were fitted to."""
    test: float
    """The loss on the test rows: shown, never used for the choice."""
    efficient: bool = False
    """No other candidate is as fast and as good on validation, and better in one."""

    @property
    def label(self) -> str:
        """`cnn`, or `geometric(cnn, trees)`."""
        return self.members[0] if self.rule == "single" else f"{self.rule}({', '.join(self.members)})"


def forward_selection(members: Sequence[str], loss: Callable[[Sequence[int]], float]) -> list[tuple[int, ...]]:
    """Growing subsets of the members' places, from the best one to all: each step adds what helps most.

    `loss` of a subset; ties go to the first member. Every subset is ascending.
    """
    chosen: list[int] = []
    trail: list[tuple[int, ...]] = []
    while len(chosen) < len(members):
        left = [k for k in range(len(members)) if k not in chosen]
        losses = [loss(sorted([*chosen, k])) for k in left]
        chosen.append(left[int(np.argmin(losses))])
        trail.append(tuple(sorted(chosen)))
    return trail


def marked(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates by latency, those that no other beats marked `efficient`."""
    ordered = sorted(candidates, key=lambda each: (each.latency_ms, each.validation))
    best = np.inf
    found = []
    for each in ordered:
        found.append(msgspec.structs.replace(each, efficient=each.validation < best))
        best = min(best, each.validation)
    return tuple(found)


def summary(candidates: Sequence[Candidate]) -> list[Mapping[str, object]]:
    """The efficient ones in short, for a manifest's report."""
    return [
        {
            "rule": each.rule,
            "members": list(each.members),
            "latency_ms": round(each.latency_ms, 4),
            "validation": round(each.validation, 6),
            "test": round(each.test, 6),
        }
        for each in candidates
        if each.efficient
    ]
