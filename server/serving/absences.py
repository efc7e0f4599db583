"""How often a look at the repository missed what it had before: what is briefly away is not believed to be gone."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

ABSENT_LOOKS = 3
"""Looks in a row, each at least a poll interval after the last, that must miss what was there before it is let go: a
repository that is briefly empty or half-synchronised unloads nothing."""


@dataclass(slots=True)
class Absence:
    """How often something was missed, and when last (monotonic clock, seconds)."""

    looks: int
    last: float


class Absences:
    """Counts by ensemble. `poll_interval_s`: seconds between looks that count."""

    def __init__(self, poll_interval_s: float) -> None:
        self._poll_interval_s = poll_interval_s
        self._missed: dict[str, Absence] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._missed

    def seen(self, name: str) -> None:
        """It is there: the count begins anew."""
        self._missed.pop(name, None)

    def missed(self, name: str) -> bool:
        """Count a look that missed it; whether it is believed to be gone."""
        now = monotonic()
        absence = self._missed.setdefault(name, Absence(0, now - self._poll_interval_s))
        if now - absence.last >= 0.9 * self._poll_interval_s:
            absence.looks, absence.last = absence.looks + 1, now
        return self.believed(name)

    def believed(self, name: str) -> bool:
        """Whether enough looks in a row missed it."""
        absence = self._missed.get(name)
        return absence is not None and absence.looks >= ABSENT_LOOKS
