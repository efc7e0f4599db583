"""Members of a recipe that train jointly: one unit a fold, saved for each member, published like any others."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main
from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.errors import MembersFailed, RecipeError
from exporter.optimisation.spec import Hardware
from exporter.recipe.options import Options
from exporter.recipe.recipe import Recipe, parse_recipe
from exporter.recipe.sources import clean, split
from exporter.training.choice import engine_of
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import FINAL, Made
from exporter.training.joint import digests_of, units_of
from exporter.training.run import AllMade, jobs_of, train_members
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool

pytestmark = pytest.mark.timeout(300)

RECIPE = """
name = "jointly"
task = "classification"
[data]
source = "digits"
[split]
folds = 0
fusion = 0.2
test = 0.4
[training]
joint = "synchronous"
independence = 0.3
[fusion]
keep = "all"
rules = ["geometric", "mean"]
[acceptance]
best_single = false
[members.pca]
family = "pca"
training = {epochs = 4}
[members.wavelet]
family = "wavelet"
hidden = 16
training = {epochs = 2}
[members.trees]
family = "tree"
trees = 5
copies = 1
"""


def recipe(*overrides: str) -> Recipe:
    return parse_recipe(RECIPE.encode(), "jointly", overrides=overrides)


@pytest.fixture(scope="module")
def data() -> tuple[Dataset, Split]:
    dataset, _ = clean(recipe().data.load(None), "error")
    return dataset, split(dataset.rows, recipe().split, 0, dataset.classes)


def train(made: Recipe, data: tuple[Dataset, Split], work: Path, *, resume: bool = False, workers: int = 1) -> AllMade:
    engine = engine_of(Options(work, workers=workers), made.training)
    return train_members(
        made, *data, WorkFolder(work), engine=engine, hardware=Hardware(), repository=work, resume=resume,
        report=lambda *_: None, watch=lambda _: None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def trained(data: tuple[Dataset, Split], work: Path) -> dict[str, Made]:
    return {job.member: made for job, made in train(recipe(), data, work).results.items()}


def test_who_trained_jointly_is_known_of_each_member(trained: dict[str, Made]) -> None:
    assert {name: made.joint for name, made in trained.items()} == {
        "pca": ("pca", "wavelet"),
        "wavelet": ("pca", "wavelet"),
        "trees": (),
    }


def test_a_fold_of_members_that_train_jointly_is_one_unit() -> None:
    jobs = jobs_of(recipe("split.folds=2"), Hardware())
    units = [(unit[0].fold, {job.member for job in unit}) for unit in units_of(jobs)]
    assert len(units) == 6
    for fold in (FINAL, 0, 1):
        assert (fold, {"pca", "wavelet"}) in units
        assert (fold, {"trees"}) in units


def test_results_are_taken_over_by_digest_of_the_whole_group(
    trained: dict[str, Made], data: tuple[Dataset, Split], work: Path
) -> None:
    again = train(recipe(), data, work, resume=True)
    assert again.reused == 3
    assert all(np.array_equal(made.outputs, trained[job.member].outputs) for job, made in again.results.items())
    assert {made.joint for made in again.results.values()} == {("pca", "wavelet"), ()}


def test_a_group_of_which_a_result_is_missing_trains_anew_to_the_same_answers_in_any_process(
    trained: dict[str, Made], data: tuple[Dataset, Split], work: Path
) -> None:
    jobs = jobs_of(recipe(), Hardware())
    digests = digests_of(jobs, *data)
    (wavelet,) = (job for job in jobs if job.member == "wavelet")
    (work / f"{digests[wavelet]}.npz").unlink()
    again = train(recipe(), data, work, resume=True, workers=2)
    assert again.reused == 1, "the trees"
    assert all(np.array_equal(made.outputs, trained[job.member].outputs) for job, made in again.results.items())


def test_a_digest_changes_with_every_partner_and_option_and_of_no_one_else(data: tuple[Dataset, Split]) -> None:
    def digests(*overrides: str) -> dict[str, str]:
        jobs = jobs_of(recipe(*overrides), Hardware())
        return {job.member: digest for job, digest in digests_of(jobs, *data).items()}

    base = digests()
    for change in ("members.wavelet.hidden=17", "training.independence=0.4", "training.mutual=1.0"):
        changed = digests(change)
        assert changed["pca"] != base["pca"]
        assert changed["wavelet"] != base["wavelet"]
        assert changed["trees"] == base["trees"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["training.joint=together"], "training"),
        (["training.independence=1.5"], "training.independence"),
        (["training.members=['pca', 'cnn']"], "training.members names 'cnn', the recipe has 'pca', 'wavelet', 'trees'"),
        (["training.members=['pca', 'trees']"], "training.members names 'trees', a tree trains no single network"),
        (["members.pca.training.stop_at={accuracy = 0.5}"], "members.pca.training.stop_at ends one member's training"),
        (
            ["members.wavelet.training.init_from=pca", "training.members=['pca', 'wavelet']"],
            "training.members names 'wavelet', which begins with the parameters of 'pca' and waits for them",
        ),
        (["training.members=['pca']"], "takes two members or more, 'pca' can take part"),
    ],
)
def test_what_cannot_train_jointly_is_one_line(overrides: list[str], told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)) as error:
        recipe(*overrides)
    assert "\n" not in str(error.value)


def test_options_of_joint_training_without_it_are_refused() -> None:
    text = RECIPE.replace('joint = "synchronous"\n', "")
    with pytest.raises(RecipeError, match=r"training\.independence is given without training\.joint"):
        parse_recipe(text.encode(), "jointly")


def test_a_member_that_is_named_and_gives_no_classes_is_one_line(data: tuple[Dataset, Split], tmp_path: Path) -> None:
    """Trees on wavelets have a table `training`, and train no network: that shows when they train."""
    made = recipe("members.wavelet.head=trees", "training.members=['pca', 'wavelet']")
    with pytest.raises(MembersFailed, match=r"training\.members names 'wavelet', whose network gives no logits"):
        train(made, data, tmp_path)


def test_a_member_that_diverges_is_named_and_its_fold(data: tuple[Dataset, Split], tmp_path: Path) -> None:
    made = recipe("members.pca.training.learning_rate=1e30")
    with pytest.raises(MembersFailed, match=r"the loss is (nan|inf) of member 'pca' in epoch \d of joint training"):
        train(made, data, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 1, "the trees are kept"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    (folder / "jointly.toml").write_text(RECIPE)
    call = [str(folder / "jointly.toml"), "--repository", str(folder / "models"), "--report", str(folder / "report")]
    assert main([*call, "--workers", "1"]) == 0
    return folder


def test_a_jointly_trained_version_is_published_with_what_it_is_in_the_report(exported: Path) -> None:
    """The export itself compares the loaded version's answers to all test rows with the offline ones."""
    report = Repository(exported / "models").manifest("jointly", 1).report["joint"]
    assert (report["pace"], report["members"]) == ("synchronous", ["pca", "wavelet"])
    assert -1 <= report["error_correlation"] <= 1
    text = (exported / "report" / "leaderboard.txt").read_text()
    assert "Trained jointly (synchronous, independence 0.3, geometric): pca, wavelet" in text


def test_a_served_version_of_members_that_trained_jointly_answers_as_they_do_offline(
    exported: Path, trained: dict[str, Made], data: tuple[Dataset, Split]
) -> None:
    ensemble = LoadedEnsemble.open(
        Repository(exported / "models").open("jointly", 1), SessionPool(), RuntimeOptions(cores=1)
    )
    held = data[0].rows.take(data[1].fusion)
    served = ensemble.predict(held.inputs, ["members"]).outputs["members"]
    for place, member in enumerate(ensemble.manifest.members):
        raw = trained[member.name].outputs.astype(np.float64)
        if member.kind == "logits":
            scaled = np.exp((raw - raw.max(axis=1, keepdims=True)) / member.temperature)
            np.testing.assert_allclose(served[:, place], scaled / scaled.sum(axis=1, keepdims=True), atol=1e-5)
    ensemble.close()
