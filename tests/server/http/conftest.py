"""One server for each way in, shared by the tests of this folder that do not change it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from tests.server.http.running import Running, Way, running


@pytest.fixture(scope="package", params=get_args(Way))
def served(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(request.param) as server:
        yield server
