"""The smallest set of members that is as good as the best one is published, and the report says what that saves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter import Exporter
from exporter.assembling.useful import Published, published, smallest
from exporter.cli.refit import main as refit
from exporter.fusing.selection import fit_fusion
from exporter.fusing.subsets import Subsets
from exporter.recipe.recipe import FusionSpec, Head
from exporter.recipe.rule_names import RuleName
from exporter.scoring.objective import Objective
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.api.samples import CLASSES, W, member, noisy, rows
from tests.exporter.reporting.samples import classified, ledger

LOG_LOSS = Objective("log_loss")
NOISES = {"good": 0.5, "other": 0.9, "noise": 6.0}


def subsets(noises: dict[str, float], rule: RuleName = "weighted") -> Subsets:
    found, y = classified(list(noises.values()), rows=2000)
    return Subsets(ledger(dict(zip(noises, found, strict=True)), y), rule, [1.0] * len(noises), 0, LOG_LOSS)


def names(found: Subsets, members: tuple[int, ...]) -> set[str]:
    return {found.ledger.members[k] for k in members}


def test_a_member_that_adds_nothing_is_left_out_and_one_that_helps_stays() -> None:
    found = subsets(NOISES)
    members, least = smallest(found)
    assert names(found, members) == {"good", "other"}
    assert found.loss(members) < found.loss((0,))
    assert "good" in names(found, least)


def test_of_equals_one_is_enough() -> None:
    (p,), y = classified([0.5], rows=1000)
    found = Subsets(ledger({"one": p, "two": p, "three": p}, y), "mean", [1.0] * 3, 0, LOG_LOSS)
    assert len(smallest(found)[0]) == 1


def test_a_set_has_as_many_members_as_the_quorum_asks_for() -> None:
    (p,), y = classified([0.5], rows=1000)
    found = Subsets(ledger({"one": p, "two": p, "three": p}, y), "mean", [1.0] * 3, 0, LOG_LOSS)
    assert len(smallest(found, 2)[0]) == 2


@pytest.mark.parametrize(("keep", "quorum", "kept"), [("useful", 1, 2), ("useful", 3, 3), ("all", 1, 3)])
def test_the_rule_is_fitted_to_the_members_that_are_kept(keep: str, quorum: int, kept: int) -> None:
    found = subsets(NOISES)
    fusion = FusionSpec(rules=("weighted",), keep=keep, quorum=quorum)  # type: ignore[arg-type]  # as a recipe has it
    head = Head(name="own", task="classification", fusion=fusion)
    fusing = fit_fusion(found.ledger, head.rules, "auto", [1.0] * 3, 0, LOG_LOSS)
    chosen: Published = published(found.ledger, fusing, [1.0] * 3, head, found)
    assert len(chosen.members) == len(chosen.rule.weights) == kept
    assert chosen.rule.weights.sum() == pytest.approx(1)
    assert chosen.validation.shape == (2000, 4)
    assert bool(chosen.reason) == (kept < 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """own/1: one of four members is a copy, one says nothing."""
    root = tmp_path_factory.mktemp("useful")
    exporter = Exporter("own", classes=CLASSES, rules=("weighted",), publish="weighted")
    for name, weights in {"one": noisy(0.9, 1), "two": noisy(0.9, 2), "copy": noisy(0.9, 2), "flat": 0 * W}.items():
        exporter.add(name, member(root, name, weights))
    exporter.fit_fusion(*rows(2000)).publish(root / "models", accept_worse=True)
    (root / "summary.txt").write_text(exporter.summary())
    return root


def test_what_is_left_out_is_neither_served_nor_silent(folder: Path) -> None:
    version = Repository(folder / "models").open("own", 1)
    kept = {each.name for each in version.manifest.members}
    assert "flat" not in kept
    assert kept <= {"one", "two", "copy"}
    assert kept.isdisjoint(version.manifest.report["left_out"])
    assert set(version.manifest.report["members"]) == {"one", "two", "copy", "flat"}
    text = (folder / "summary.txt").read_text()
    assert "- left out: " in text
    assert "enough: log-loss" in text
    assert "of the members' time for a row is saved" in text
    assert f"over {len(kept)} member" in text
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    x, y = rows(2000, seed=9)
    p = ensemble.predict({"x": x}, ["probabilities"]).outputs["probabilities"]
    ensemble.close()
    found = version.manifest.report["fused"]["log_loss"]
    assert -np.log(p[np.arange(len(y)), y]).mean() == pytest.approx(found, rel=0.15)


def test_a_refit_leaves_members_out_too_or_keeps_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["own", "--repository", str(folder / "models"), "--accept-worse", "--json", "--version", "1"]
    added = ["--member", f"blank={folder / 'flat.onnx'}", "--classes-of", f"blank={','.join(CLASSES)}"]
    assert refit([*words, *added]) == 0
    first = json.loads(capsys.readouterr().out)["members"]
    assert "blank" not in first
    assert refit([*words, *added, "--keep", "all"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert "blank" in second["members"]
    latest = Repository(folder / "models").manifest("own", second["version"])
    assert [each.name for each in latest.members] == second["members"]
    assert refit([*words[:-2], "--json"]) == 0  # what was said of it last still holds
    assert json.loads(capsys.readouterr().out)["members"] == second["members"]
