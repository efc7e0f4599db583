"""An export with groups and detectors: one file for several members, and a server that answers with both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.errors import RecipeError
from exporter.pipeline import Exported, export
from exporter.recipe.catalogue import entries
from exporter.recipe.options import Options
from exporter.recipe.recipe import parse_recipe
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool

pytestmark = pytest.mark.timeout(300)

RECIPE = b"""
name = "shared"
task = "classification"
ood_alpha = 0.05
data = {source = "digits"}
split = {folds = 0, fusion = 0.2, golden = 10}
fusion = {rules = ["mean", "weighted"], quorum = 2, keep = "all"}
acceptance = {best_single = false}
[members.trunk]
family = "multi_head"
members = 3
width = 4
training = {epochs = 1}
[members.pca]
family = "pca"
components = 8
hidden = 8
training = {epochs = 2}
[detectors.isolation]
family = "isolation_forest"
trees = 10
[detectors.clusters]
family = "kmeans"
clusters = 5
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder: Path = tmp_path_factory.mktemp("export")
    recipe = parse_recipe(RECIPE, "shared")
    options = Options(repository=folder / "models", report=folder / "report", workers=1)
    return export(recipe, options, lambda *told: None)


def test_heads_are_members_of_one_file(exported: Exported) -> None:
    members = exported.version.manifest.members
    assert [member.name for member in members] == ["trunk-1", "trunk-2", "trunk-3", "pca"]
    assert len({member.file for member in members}) == len({member.sha256 for member in members}) == 2
    assert [member.output for member in members] == ["logits_1", "logits_2", "logits_3", "logits"]
    assert {member.family for member in members} == {"multi_head", "pca"}


def test_detectors_are_published_with_scales_and_a_threshold(exported: Exported) -> None:
    manifest = exported.version.manifest
    assert [(one.name, one.family, len(one.quantiles)) for one in manifest.detectors] == [
        ("isolation", "isolation_forest", 101),
        ("clusters", "kmeans", 101),
    ]
    assert manifest.ood_threshold is not None
    assert 0.5 < manifest.ood_threshold <= 1.0


def test_the_report_says_how_well_detectors_tell(exported: Exported) -> None:
    rows = {row.name: row for row in exported.board.detectors}
    assert list(rows) == ["isolation", "clusters", "ood_score"]
    assert rows["ood_score"].auroc_random > 0.95
    assert rows["clusters"].auroc_permuted > 0.8
    assert rows["ood_score"].flagged is not None
    assert rows["ood_score"].flagged < 0.2
    assert set(exported.version.manifest.report["detectors"]) == set(rows)
    assert "isolation_forest" in (exported.report / "leaderboard.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("plan", ["sequential", "merged"])
def test_a_server_answers_with_each_head_and_tells_strange_images(exported: Exported, plan: str) -> None:
    pool = SessionPool()
    options = RuntimeOptions(cores=1, plan=plan)  # type: ignore[arg-type]  # a literal by way of parametrize
    ensemble = LoadedEnsemble.open(exported.version, pool, options)
    try:
        ensemble.check_golden()
        ensemble.choose_plan()
        assert ensemble.plan == plan
        image = exported.version.manifest.inputs[0]
        noise = np.random.default_rng(0).uniform(0, 16, (40, *image.shape[1:])).astype(np.float32)
        got = ensemble.predict({image.name: noise}, ["members", "ood_score", "in_distribution"]).outputs
        assert got["members"].shape == (40, 4, 10)
        assert len({got["members"][0, k].tobytes() for k in range(4)}) == 4
        assert (got["ood_score"] > 0.9).mean() > 0.9
        assert got["in_distribution"].mean() < 0.5
    finally:
        ensemble.close()
    assert pool.count == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("members.trunk-1={family='pca'}", "members, aggregates and detectors have 'trunk-1' more than once"),
        ("detectors.pca={family='kmeans'}", "members, aggregates and detectors have 'pca' more than once"),
        ("detectors.noise={family='cnn'}", "detectors.noise.family is 'cnn', expected one of autoencoder, isolation_f"),
        ("detectors.clusters.clusters=0", "detectors.clusters.clusters: expected a whole number of at least 1"),
        ("members.trunk.members=1", "members.trunk.members: expected a whole number from 2 to 32"),
        ("fusion.quorum=5", "fusion.quorum is 5, more than the 4 members"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(change: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told.replace("(", r"\(")):
        parse_recipe(RECIPE, "shared", overrides=[change])


def test_a_gate_without_detectors_is_a_mistake() -> None:
    bare = RECIPE[: RECIPE.index(b"[detectors")]
    with pytest.raises(RecipeError, match=r"ood_alpha is 0\.05, but there is no detector"):
        parse_recipe(bare, "shared")


def test_the_list_names_every_head_and_detector_with_its_family() -> None:
    listed = {entry.name: entry for entry in entries()}["digits-shared"]
    found = {(member.name, member.family, member.role) for member in listed.members}
    assert {("trunk-3", "multi_head", "member"), ("networks-1", "deep_ensemble", "member")} <= found
    assert ("autoencoder", "autoencoder", "detector") in found
