"""A session pool that every test must leave empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.runtime import SessionPool


@pytest.fixture
def pool() -> Iterator[SessionPool]:
    """A pool that must be empty at the end."""
    pool = SessionPool()
    yield pool
    assert (pool.count, pool.bytes) == (0, 0)
