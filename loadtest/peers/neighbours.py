"""How much of the machine was used by others while something was measured: a figure from a busy machine says so."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field

from loadtest.peers.machine import busy_s
from loadtest.peers.process import Server


@dataclass(slots=True)
class Watch:
    """Started when it is made; `others()` may be asked once or more. wrk must have ended by then."""

    server: Server
    began: float = field(default_factory=time.monotonic)
    busy: float = field(default_factory=busy_s)
    ours: float = 0.0
    server_s: float = 0.0

    def __post_init__(self) -> None:
        self.ours = self._ours()
        self.server_s = self.server.cpu_s()

    def server_cpu_s(self) -> float:
        """Processor seconds of the server since the start: what it costs, however busy the machine is."""
        return max(0.0, self.server.cpu_s() - self.server_s)

    def others(self) -> float:
        """Share of all cores, 0 to 1, that went to neither the server nor wrk nor this program since the start."""
        elapsed = max(1e-3, time.monotonic() - self.began)
        busy = busy_s() - self.busy - (self._ours() - self.ours)
        return min(1.0, max(0.0, busy / (elapsed * (os.cpu_count() or 1))))

    def _ours(self) -> float:
        own = resource.getrusage(resource.RUSAGE_SELF)
        wrk = resource.getrusage(resource.RUSAGE_CHILDREN)
        return self.server.cpu_s() + own.ru_utime + own.ru_stime + wrk.ru_utime + wrk.ru_stime
