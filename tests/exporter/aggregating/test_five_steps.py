"""Five steps in a row by the command line: prepare, train several, aggregate, test, predict online."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporter.recipe.catalogue import find_recipe
from exporter.recipe.recipe import read_recipe
from exporter.recipe.sources import clean, split
from model_repo import Repository
from tests.e2e.process import serving

NAME = "digits-aggregated"


def tutti(folder: Path, *words: str) -> str:
    """What the command prints; it ends well."""
    command = [sys.executable, "-m", "tutti", *words, "--repository", str(folder / "models"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_several_networks_are_trained_averaged_tested_and_asked_online(tmp_path: Path) -> None:
    # prepare the data, train the base and four networks from it, average them, test them all
    tutti(tmp_path, "export", NAME, "--preset", "fast", "--report", str(tmp_path / "report"))
    board = json.loads((tmp_path / "report/leaderboard.json").read_text(encoding="utf-8"))
    (mixture,) = board["mixtures"]
    members = {row["name"]: row["metrics"] for row in board["rows"] if row["kind"] == "member"}
    assert list(members) == [*mixture["weights"], mixture["name"]]
    assert members["soup"]["accuracy"] > 0.93
    assert mixture["loss"] <= min(mixture["losses"].values())  # a greedy soup is not worse than its best member

    # the mean of all alone, as the next version, at the price of one member
    told = json.loads(tutti(
        tmp_path, "aggregate", NAME, "--members", ",".join(mixture["weights"]), "--rule", "uniform", "--as", "mean",
        "--only", "--accept-worse",
    ))  # fmt: skip
    costs = {entry["name"]: entry for entry in told["costs"]}
    fused = next(entry for entry in told["costs"] if entry["what"] == "fused")
    assert costs["mean"]["bytes"] * 4 < fused["bytes"]
    assert costs["mean"]["figures"]["accuracy"] > 0.93
    manifest = Repository(tmp_path / "models").manifest(NAME, told["version"])
    assert [member.name for member in manifest.members] == ["mean"]

    # predict online: rows of the test split, answered by the new version
    recipe = read_recipe(find_recipe(NAME), "fast")
    dataset, _ = clean(recipe.data.load(None), recipe.data.on_bad_rows)
    test = dataset.rows.take(split(dataset.rows, recipe.split, recipe.seed, dataset.classes).test)
    (image,) = test.inputs.values()
    with serving(tmp_path / "models") as server:
        answer = server.json("POST", f"/v1/models/{NAME}:predict", {"instances": image.tolist()})
    found = np.array([each["label"] for each in answer["predictions"]])
    right = float((found == np.array(dataset.classes)[test.target]).mean())
    assert right == pytest.approx(costs["mean"]["figures"]["accuracy"], abs=1e-3)
