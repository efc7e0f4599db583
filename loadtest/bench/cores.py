"""Cores of its own for the load generator, so that it does not take those that are measured."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.peers.errors import PeerError


@dataclass(frozen=True, slots=True)
class Cores:
    """Whose are which."""

    server: frozenset[int]
    generator: frozenset[int]


def split() -> Cores:
    """The last of this thread's cores for the generator, the others for the server; raises PeerError."""
    cores = frozenset(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise PeerError("this process may use one core, expected at least 2: one is the load generator's")
    return Cores(cores - {max(cores)}, frozenset({max(cores)}))


@contextlib.contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """This thread, and the threads and processes that it starts meanwhile, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
