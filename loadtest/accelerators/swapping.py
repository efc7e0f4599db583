"""Many swaps between two versions, each loaded before the other is closed, with the device's memory after each."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from loadtest.accelerators.correctness import TOLERANCE
from loadtest.accelerators.memory import Memory
from loadtest.accelerators.versions import Versions, open_version
from loadtest.accelerators.ways import Way
from loadtest.peers.networks import INPUT
from server.runtime import Array, LoadedEnsemble, SessionPool

FLAT_BYTES = 64 << 20
"""Memory may move by as much: cuDNN and cuBLAS keep workspaces of their own."""
SETTLING = 20
"""Swaps until caches and arenas have their size; a tenth of them where there are fewer than 200."""
ROWS = 7


class Swaps(msgspec.Struct, frozen=True, kw_only=True):
    """`used_bytes`: memory after each swap, one version loaded. `wrong`: answers that were not the new version's."""

    way: str
    memory: str
    used_bytes: list[int]
    wrong: int
    limit_bytes: int = FLAT_BYTES

    @property
    def spread_bytes(self) -> int:
        """Most less least once settled."""
        settled = self.used_bytes[settling(len(self.used_bytes)) :]
        return max(settled) - min(settled)

    @property
    def growth_bytes(self) -> int:
        """Median of the last tenth less median of the first tenth once settled."""
        settled = self.used_bytes[settling(len(self.used_bytes)) :]
        tenth = max(1, len(settled) // 10)
        return int(np.median(settled[-tenth:]) - np.median(settled[:tenth]))

    @property
    def good(self) -> bool:
        """Whether memory stayed flat and every answer was the right version's."""
        return self.wrong == 0 and self.spread_bytes <= self.limit_bytes


def settling(swaps: int) -> int:
    """Swaps that are not judged."""
    return min(SETTLING, swaps // 10)


def swap(
    versions: Versions, way: Way, count: int, memory: Memory, tell: Callable[[str], None] = lambda line: None
) -> Swaps:
    """`count` ≥ 1 swaps. Raises LoadError where a version is refused, DeviceError where memory cannot be read."""
    pool = SessionPool()
    feeds = versions.rows(ROWS)
    expected: dict[int, Array] = {}
    for number in (1, 2):
        with versions.loaded(number, pool) as reference:
            expected[number] = _probabilities(reference, feeds)
    used, wrong = [], 0
    serving = open_version(versions, 1, pool, (way.provider,))
    try:
        for done in range(1, count + 1):
            number = 2 if done % 2 else 1
            old, serving = serving, open_version(versions, number, pool, (way.provider,))
            old.close()
            wrong += not np.allclose(_probabilities(serving, feeds), expected[number], rtol=0, atol=TOLERANCE)
            used.append(memory.used())
            if done % 20 == 0:
                tell(f"swap {done}: {used[-1] / (1 << 20):,.0f} MiB")
    finally:
        serving.close()
    return Swaps(way=way.name, memory=memory.name, used_bytes=used, wrong=wrong)


def _probabilities(ensemble: LoadedEnsemble, feeds: Array) -> Array:
    return ensemble.predict({INPUT: feeds}, ("probabilities",)).outputs["probabilities"]
