"""One thread for everything numeric: sums then come out in the same order on every machine, and nothing spins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def blas_on_one_thread() -> Iterator[None]:
    """BLAS and OpenMP libraries that are loaded by now on one thread; as before afterwards."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    with threadpool_limits(1):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """torch too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with blas_on_one_thread():
            yield
    finally:
        torch.set_num_threads(before)
