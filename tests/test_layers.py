"""The import contracts of pyproject.toml find what they are there to find, and commands are imported when they run."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("model_repo", "server", "exporter", "loadtest")
WRONG = {
    "server/serving/upward.py": ("from server.http import app", "The server: start, fronts, HTTP, serving, runtime"),
    "server/http/codec/upward.py": ("from server.http.inference import call", "HTTP: pages, one request, wire formats"),
    "server/runtime/answer/upward.py": (
        "def f():\n    from server.runtime.plans import plan",
        "The runtime: ensemble, side models, plans, golden rows, answers, sessions",
    ),
    "server/runtime/plans/waits.py": ("import asyncio", "The runtime is synchronous and has no settings"),
    "server/runtime/plans/runs.py": ("import onnxruntime as ort", "onnxruntime is for sessions, and for the quantiser"),
    "server/serving/trains.py": ("def f():\n    import torch", "The server needs no training library"),
    "model_repo/store/knows.py": ("import numpy", "The repository and its format know nobody"),
    "exporter/gate/serves.py": (
        "from server.serving import manager",
        "The exporter rehearses with the runtime, and enters no other room of the server",
    ),
    "exporter/text/networks/sees.py": (
        "from exporter.images.networks import pixels",
        "Domains of the exporter do not know each other",
    ),
    "exporter/recipe/trains.py": ("import torch", "Recipes are read without a training library"),
    "loadtest/load/knows.py": ("import exporter", "The load generator is a black box over HTTP"),
    "exporter/scoring/round.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from exporter.fusing import rules",
        "No circles, between files or between rooms",
    ),
}
"""File with an import that must not be → the contract that is to find it."""


def contracts(root: Path) -> tuple[int, str]:
    """The status of `lint-imports` on the tree at `root`, and what it says."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


def test_every_contract_finds_what_it_is_there_to_find(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (source, _) in WRONG.items():
        (tmp_path / name).write_text(f"{source}\n", encoding="utf-8")
    status, said = contracts(tmp_path)
    assert status == 1
    for name, (_, contract) in WRONG.items():
        assert f"{contract} BROKEN" in said, f"{name} was not found: {said}"


def test_commands_are_imported_when_they_run() -> None:
    tree = ast.parse((ROOT / "tutti.py").read_text(encoding="utf-8"))
    at_the_top = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not {name.split(".")[0] for name in at_the_top} & set(PACKAGES)
