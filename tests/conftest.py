"""What several tests share: one real export of the digits recipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def digits_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with version 1 of `digits`, made by the real command line; read it, never write it."""
    root = tmp_path_factory.mktemp("digits")
    command = [sys.executable, "-m", "tutti", "export", "digits", "--preset", "fast"]
    places = ["--repository", str(root / "models"), "--report", str(root / "report")]
    done = subprocess.run([*command, *places], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return root / "models"
