"""Loading a version leaves the event loop free (fact F1: onnxruntime up to 1.30 held the GIL while it loaded)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np

from model_repo import Repository
from server.metrics import Metrics
from server.serving.loader import Loader
from server.settings import Settings
from tests.graphs import linear
from tests.repositories import publish

FEATURES, CANDIDATES = 6000, 4000


def test_loading_a_large_version_does_not_stall_the_loop(tmp_path: Path) -> None:
    """96 MB of weights; with the GIL held, the longest gap would be the whole load of the session."""
    wide = linear(np.zeros((FEATURES, CANDIDATES), np.float32))
    publish(tmp_path, "wide", {"a": wide}, task="ranking", classes=tuple(map(str, range(CANDIDATES))))

    async def scenario() -> tuple[float, float]:
        loader = Loader(Repository(tmp_path), Settings(), Metrics())
        gaps: list[float] = []

        async def tick() -> None:
            before = time.perf_counter()
            while True:
                await asyncio.sleep(0)
                now = time.perf_counter()
                gaps.append(now - before)
                before = now

        ticking = asyncio.create_task(tick())
        started = time.perf_counter()
        servable = await loader.load("wide", 1)
        taken = time.perf_counter() - started
        ticking.cancel()
        await loader.free(servable)
        loader.close()
        return max(gaps), taken

    longest, taken = asyncio.run(scenario())
    assert longest < taken / 4, f"the loop stood still for {longest:.3f} s of a load of {taken:.3f} s"
