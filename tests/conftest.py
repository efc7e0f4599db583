"""What several tests share: one real export of the digits recipe."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def digits_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export of `digits` by the command line: `models`, `report`, and in `found.json` what it said.

    Made once for all processes of the suite; read it, never write it.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    root = shared / "digits"
    with (shared / "digits.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "found.json").exists():
            command = [sys.executable, "-m", "tutti", "export", "digits", "--json"]
            places = ["--repository", str(root / "models"), "--report", str(root / "report")]
            done = subprocess.run([*command, *places], capture_output=True, text=True, timeout=900, check=False)
            assert done.returncode == 0, done.stderr
            (root / "found.json").write_text(done.stdout, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def digits_repository(digits_export: Path) -> Path:
    """A model repository with version 1 of `digits`; read it, never write it."""
    return digits_export / "models"
