"""What happened to every request, in columns: 45 bytes a request, so that an hour's soak fits in memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.load.outcome import ANSWERED, Outcome

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sample:
    """The record of a run as arrays `[requests]`, in order of completion; times are seconds since start."""

    scheduled: Floats
    """When the arrival process wanted the request sent; in a closed loop, when it was sent."""
    started: Floats
    """When the generator got round to it; the difference is the generator's own lag."""
    done: Floats
    outcome: NDArray[np.uint8]
    version: NDArray[np.int64]
    """Version that answered; 0 where none did."""
    connection: NDArray[np.int64]
    """Number of the connection; -1 where the request never got one."""

    def __len__(self) -> int:
        return len(self.scheduled)

    @property
    def latency(self) -> Floats:
        """Seconds from the scheduled time to the answer."""
        return self.done - self.scheduled

    @property
    def answered(self) -> Bools:
        """Requests with a usable answer: ok or degraded."""
        return np.isin(self.outcome, ANSWERED)

    def where(self, chosen: Bools | NDArray[np.intp]) -> Sample:
        """The requests that `chosen` marks, or lists in the order wanted."""
        return Sample(
            self.scheduled[chosen],
            self.started[chosen],
            self.done[chosen],
            self.outcome[chosen],
            self.version[chosen],
            self.connection[chosen],
        )

    def between(self, start_s: float, end_s: float) -> Sample:
        """The requests scheduled in `[start_s, end_s)`."""
        return self.where((self.scheduled >= start_s) & (self.scheduled < end_s))


class Record:
    """Takes one line a request while the load runs; event-loop thread only."""

    def __init__(self) -> None:
        self.examples: dict[Outcome, str] = {}
        self.newest_version = 0
        self.on_version: Callable[[int], None] = lambda version: None
        """Called with the first answer of each version newer than all before."""
        self._times = array("d")
        self._outcomes = array("B")
        self._labels = array("q")

    def add(
        self,
        scheduled: float,
        started: float,
        done: float,
        outcome: Outcome,
        *,
        version: int = 0,
        connection: int = -1,
    ) -> None:
        """One request's fate; times on the clock of `time.monotonic`."""
        self._times.extend((scheduled, started, done))
        self._outcomes.append(outcome)
        self._labels.extend((version, connection))
        if version > self.newest_version:
            self.newest_version = version
            self.on_version(version)

    def explain(self, outcome: Outcome, reason: str) -> None:
        """Keep `reason` as the example of its outcome, if it is the first."""
        self.examples.setdefault(outcome, reason)

    def __len__(self) -> int:
        return len(self._outcomes)

    def sample(self, origin: float) -> Sample:
        """Everything so far, with times counted from `origin`."""
        times = np.array(self._times, dtype=np.float64).reshape(-1, 3) - origin
        labels = np.array(self._labels, dtype=np.int64).reshape(-1, 2)
        outcomes = np.array(self._outcomes, dtype=np.uint8)
        return Sample(times[:, 0], times[:, 1], times[:, 2], outcomes, labels[:, 0], labels[:, 1])
