"""What a front counts, until it is told to the engine, whose `/metrics` shows the sum."""

from __future__ import annotations

from collections.abc import Sequence

from server.front.messages import Count
from server.metrics import SECONDS, Histogram


class Counts:
    """Requests that finished in this front, by version and outcome; has the methods of Metrics that are used here."""

    def __init__(self) -> None:
        self._finished: dict[tuple[str, str, str], Histogram] = {}

    def request(self, ensemble: str, version: str, outcome: str, seconds: float) -> None:
        """Count one prediction request."""
        self._histogram(ensemble, version, outcome).observe(seconds)

    def answered(self, ensemble: str, version: str, seconds: Sequence[float]) -> None:
        """Count prediction requests that were answered with every member."""
        self._histogram(ensemble, version, "ok").observe_all(seconds)

    def _histogram(self, ensemble: str, version: str, outcome: str) -> Histogram:
        key = (ensemble, version, outcome)
        found = self._finished.get(key)
        if found is None:
            found = self._finished[key] = Histogram(SECONDS)
        return found

    @property
    def waiting(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._finished)

    def take(self) -> list[Count]:
        """What was counted since the last time."""
        finished, self._finished = self._finished, {}
        return [Count(*key, histogram.counts, histogram.total) for key, histogram in finished.items()]
