"""Parameters that versions keep, networks that begin with them, and members that are their mean."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.aggregating.jobs import mixed_job
from exporter.aggregating.mean import mean_of
from exporter.assembling.beginnings import beginnings_of
from exporter.cli.aggregate import main
from exporter.cli.refit import main as refit
from exporter.errors import DataError, ParametersError
from exporter.optimisation.spec import Hardware
from exporter.parameters.file import Parameters, read, unpacked
from exporter.parameters.origin import OfFile, OfVersion
from exporter.parameters.sources import found
from exporter.recipe.recipe import Recipe, parse_recipe, read_recipe
from exporter.recipe.sources import Dataset, Split, clean, split
from exporter.training.engines.local import Local
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import FINAL
from exporter.training.run import jobs_of, train_members
from exporter.training.starts import Starts
from model_repo import Repository
from tests.exporter.aggregating.conftest import RECIPE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NEXT = """
[members.next]
family = "cnn"
width = 6
training = { epochs = 1, init_from = "small/latest:other" }
"""


@pytest.fixture
def models(small: Path, tmp_path: Path) -> Path:
    """A copy of the repository, to be changed."""
    shutil.copytree(small / "models", tmp_path / "models")
    return tmp_path / "models"


def aggregate(models: Path, *words: str) -> int:
    return main(["small", "--repository", str(models), *words])


def kept(models: Path, member: str, version: int = 1) -> Parameters:
    opened = Repository(models).open("small", version)
    entry = next(entry for entry in opened.manifest.members if entry.name == member)
    assert entry.parameters is not None
    return read(opened.read(entry.parameters.file), member)


def loaded(recipe: Recipe) -> tuple[Dataset, Split]:
    dataset, _ = clean(recipe.data.load(None), recipe.data.on_bad_rows)
    parts = split(dataset.rows, recipe.split, recipe.seed, dataset.classes)
    return recipe.data.prepare(dataset, parts, recipe.seed), parts


def test_a_version_keeps_what_networks_were_trained_to_and_where_that_comes_from(small: Path) -> None:
    models = small / "models"
    a, b, other = (kept(models, name) for name in ("a", "b", "other"))
    base = read((small / "report/parameters/base.safetensors").read_bytes(), "base")
    assert a.facts is not None
    assert base.facts is not None
    assert a.root == b.root == base.root == base.facts.start != other.root
    assert a.facts.parents == (f"base {base.digest}",)
    assert a.facts.spec["training"]["learning_rate"] == 1e-3
    dataset, parts = loaded(read_recipe(small / "small.toml"))
    assert unpacked(a.facts.seen[dataset.digest]).tolist() == sorted(dataset.rows.ids[parts.fit].tolist())
    members = Repository(models).manifest("small", 1).members
    assert [entry.name for entry in members] == ["a", "b", "other", "forest", "soup"]
    assert [entry.name for entry in members if entry.parameters is None] == ["forest"]
    Repository(models).verify("small", 1)


def test_the_aggregate_of_a_recipe_has_the_mean_of_the_parameters_and_statistics_of_its_own(small: Path) -> None:
    a, b, soup = (kept(small / "models", name) for name in ("a", "b", "soup"))
    (mean,) = mean_of({"a": a.networks, "b": b.networks}, {"a": 0.5, "b": 0.5})
    for name, tensor in soup.networks[0].items():
        if "running" not in name and "batches" not in name:
            assert np.array_equal(tensor.numpy(), mean[name].numpy()), name
    assert any("running_mean" in name and not np.array_equal(soup.networks[0][name].numpy(), mean[name].numpy())
               for name in mean)  # fmt: skip
    report = json.loads((small / "report/leaderboard.json").read_text(encoding="utf-8"))
    assert report["mixtures"][0]["weights"] == {"a": 0.5, "b": 0.5}
    assert {entry["member"] for entry in report["beginnings"]} == {"a", "b"}
    figures = {row["name"]: row["metrics"]["accuracy"] for row in report["rows"]}
    assert figures["soup"] > 0.6


def test_aggregating_publishes_a_version_with_the_mean_as_a_member(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert aggregate(models, "--members", "a,b", "--rule", "weighted", "--as", "mean", "--json", "--accept-worse") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == 2
    names = [entry["name"] for entry in told["costs"]]
    assert names == ["a", "b", "mean", "small/1 (mean over 5)", "small/2 (mean over 6)"]
    one, before = told["costs"][2], told["costs"][3]
    assert one["bytes"] < before["bytes"] / 3
    manifest = Repository(models).manifest("small", 2)
    assert manifest.members[-1].name == "mean"
    assert manifest.provenance["aggregate"]["weights"] == pytest.approx(told["mixture"]["weights"])
    assert kept(models, "mean", 2).root == kept(models, "a", 2).root
    Repository(models).verify("small", 2)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--members", "a"], "--members: 'a' given, expected two or more"),
        (["--members", "a,a"], "--members: 'a' given more than once"),
        (["--members", "a,bb"], "small/1 has no member 'bb', there are 'a', 'b'"),
        (["--members", "a,forest"], "small/1 keeps no parameters of 'forest' (tree)"),
        (["--members", "a,other"], "'a' and 'other' were not trained from one base"),
        (["--members", "a,b", "--as", "soup"], "has a member 'soup' already"),
        (["--members", "a,b", "--as", "no/name"], "--as: "),
        (["--members", "a,b", "--decay", "2"], "--decay: 2 given"),
        (["--members", "a,b", "--version", "9"], "small"),
        (["--members", "a,b", "--data", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_averaged_is_refused_in_one_line_and_nothing_is_published(
    small: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    assert aggregate(small / "models", *words) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert Repository(small / "models").versions("small") == [1]


def test_a_refit_keeps_the_parameters_of_members_that_stay(models: Path) -> None:
    assert refit(["small", "--repository", str(models), "--drop", "other", "--accept-worse"]) == 0
    assert kept(models, "a", 2).digest == kept(models, "a", 1).digest
    opened = Repository(models).open("small", 2)
    assert not [file.file for file in opened.files() if "other" in file.file]


def test_another_export_begins_with_a_version_s_parameters_where_they_fit(small: Path, tmp_path: Path) -> None:
    text = RECIPE[: RECIPE.index("[members.base]")] + NEXT
    recipe = parse_recipe(text.encode(), "next")
    made = train_members(
        recipe, *loaded(recipe), WorkFolder(tmp_path), engine=Local(1), hardware=Hardware(),
        repository=small / "models", resume=False, report=lambda *_: None, watch=lambda _: None,
    )  # fmt: skip
    (beginning,) = beginnings_of(made.results, 0)
    assert beginning.source == "small/1:other"
    assert "head.1.weight" in beginning.taken
    assert not beginning.own
    assert next(beginning.sentences()).startswith("next began with small/1:other (sha256 ")
    (result,) = made.results.values()
    assert read(result.parameters, "next").root == kept(small / "models", "other").root


@pytest.mark.parametrize(
    ("origin", "problem"),
    [
        (OfVersion("small", 7, "a"), "init_from small/7:a: "),
        (OfVersion("nobody", None, "a"), "init_from nobody/latest:a: "),
        (OfVersion("small", 1, "forest"), "small/1 keeps no parameters of 'forest'"),
        (OfFile(Path("nowhere.safetensors")), "init_from nowhere.safetensors: No such file"),
    ],
)
def test_parameters_that_are_not_there_are_named(small: Path, origin: OfVersion | OfFile, problem: str) -> None:
    with pytest.raises(ParametersError) as caught:
        found(origin, small / "models")
    assert problem in str(caught.value)


def changed(small: Path, tmp_path: Path, init_from: str, **split: object) -> tuple[Starts, Recipe, Dataset, Split]:
    """A recipe with folds whose member `other` begins with the parameters."""
    recipe = read_recipe(
        small / "small.toml",
        overrides=[f"members.other.training.init_from={init_from}", "split.folds=2",
                   *(f"split.{key}={value}" for key, value in split.items())],
    )  # fmt: skip
    return Starts(recipe, small / "models"), recipe, *loaded(recipe)


def test_folds_begin_anew_where_the_parameters_have_seen_their_rows(small: Path, tmp_path: Path) -> None:
    starts, recipe, dataset, parts = changed(small, tmp_path, "small/1:other")
    jobs = {job.fold: job for job in jobs_of(recipe, Hardware()) if job.member == "other"}
    final = starts.begun(jobs[FINAL], {}, dataset, parts)
    assert final.start is not None
    assert final.start.source == "small/1:other"
    assert starts.begun(jobs[0], {}, dataset, parts).start is None
    assert final.digest(dataset, parts) != jobs[FINAL].digest(dataset, parts)


def test_parameters_that_have_seen_test_rows_are_refused(small: Path, tmp_path: Path) -> None:
    starts, recipe, dataset, parts = changed(small, tmp_path, "small/1:other", test=0.5)
    job = next(job for job in jobs_of(recipe, Hardware()) if job.member == "other" and job.fold == FINAL)
    with pytest.raises(DataError, match=r"init_from small/1:other was trained on [0-9]+ of the [0-9]+ validation and"):
        starts.begun(job, {}, dataset, parts)


def test_members_of_a_recipe_are_trained_after_those_they_begin_with_fold_by_fold(small: Path) -> None:
    recipe = read_recipe(small / "small.toml", overrides=["split.folds=2"])
    starts, jobs = Starts(recipe, small / "models"), jobs_of(recipe, Hardware())
    first, second = starts.waves(jobs)
    assert {job.member for job in second} == {"a", "b"}
    assert len(first) + len(second) == len(jobs)
    assert not starts.ready(second[0], {})


def test_a_mixture_of_a_fold_is_of_that_fold_s_networks(small: Path) -> None:
    a, b = (kept(small / "models", name) for name in ("a", "b"))
    job = next(job for job in jobs_of(read_recipe(small / "small.toml"), Hardware()) if job.member == "a")
    mixed = mixed_job("soup", replace(job, fold=1), {"a": a, "b": b}, {"a": 1.0, "b": 0.0})
    assert (mixed.member, mixed.fold) == ("soup", 1)
    assert mixed.start is not None
    assert not mixed.start.trains
    assert mixed.start.parents == (f"a {a.digest}",)
