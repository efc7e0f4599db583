"""One token bucket per client address, in a table that cannot grow without bound."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from server.errors import RateLimited

MAX_CLIENTS = 65_536
"""Addresses remembered; beyond that the one unseen for longest is forgotten, and starts again with a full bucket."""


class RateLimit:
    """At most `rate` requests per second from one address, with a burst of one second. Event-loop thread only."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic, clients: int = MAX_CLIENTS) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._clock = clock
        self._clients = clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one request of this address; raises RateLimited where its bucket is empty."""
        now = self._clock()
        tokens, last = self._buckets.get(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - last) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[address] = (tokens - 1.0 if allowed else tokens, now)
        self._buckets.move_to_end(address)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        if not allowed:
            raise RateLimited(
                f"this client sends more than {self._rate:g} requests per second", (1.0 - tokens) / self._rate
            )
