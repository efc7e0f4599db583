"""What a piece of work costs in memory while it runs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(peak_bytes: int) -> Iterator[None]:
    """Fails when the block holds more than `peak_bytes` of traced memory at any moment."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= peak_bytes, f"{peak} bytes were held, at most {peak_bytes} are expected"
