"""One request's share of what its batches computed."""

from __future__ import annotations

from collections.abc import Collection

from server.serving.batching.rows import Outputs, Rows


class Answer(Rows):
    """One request's answer: arrays `[rows, …]`, the members left out, and where its time went (seconds)."""

    __slots__ = ("compute_s", "missing", "queue_s", "version")

    def __init__(
        self, whole: Outputs, names: Collection[str], start: int, stop: int, missing: tuple[str, ...] = ()
    ) -> None:
        self.whole = whole
        self.names = names
        self.start = start
        self.stop = stop
        self.missing = missing
        self.version = 0
        self.queue_s = self.compute_s = 0.0

    @property
    def outputs(self) -> Rows:
        """Its arrays by name: the answer itself."""
        return self
