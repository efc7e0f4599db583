"""A small ensemble with members of one lineage and others, exported once."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.cli.export import main

RECIPE = """
name = "small"
task = "classification"
[data]
source = "digits"
[split]
fusion = 0.2
folds = 0
[fusion]
rules = ["mean"]
keep = "all"
[acceptance]
enforce = false
[members.base]
family = "cnn"
width = 6
publish = false
training = { epochs = 4 }
[members.a]
family = "cnn"
width = 6
training = { epochs = 2, init_from = "base", learning_rate = 1e-3 }
[members.b]
family = "cnn"
width = 6
training = { epochs = 2, init_from = "base", learning_rate = 2e-3 }
[members.other]
family = "cnn"
width = 6
training = { epochs = 2 }
[members.forest]
family = "tree"
algorithm = "random_forest"
trees = 5
[aggregates.soup]
members = ["a", "b"]
rule = "uniform"
"""


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `small.toml`, the repository `models` with `small`/1, and its `report`; read it, never write it."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.toml").write_text(RECIPE, encoding="utf-8")
    places = ["--repository", str(folder / "models"), "--report", str(folder / "report"), "--workers", "1"]
    assert main([str(folder / "small.toml"), *places]) == 0
    return folder
