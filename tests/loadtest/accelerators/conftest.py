"""Two published versions, once for all tests of this folder: publishing is a program of its own."""

from __future__ import annotations

import pytest

from loadtest.accelerators.versions import Versions, published


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Both versions of `tiny`."""
    return published("tiny", tmp_path_factory.mktemp("versions"))
