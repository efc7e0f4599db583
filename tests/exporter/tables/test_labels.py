"""Labels that do not exclude each other, from a CSV to a served ensemble, and through a refit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.cli.export import main
from exporter.data.dataset import Dataset
from exporter.data.splits import SplitSpec, rarest, split
from exporter.errors import DataError
from exporter.gate.inference import Graph
from exporter.members.base import Family, Setting, Training
from exporter.refitting.refit import Wanted, refit
from exporter.scoring.metrics import f1
from exporter.tables.digit_pairs import DigitPairs
from exporter.tables.families import Linear, Mlp, Neighbours, Tree
from exporter.tables.source import NUMBERS, Table
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.samples import trained_alone

pytestmark = pytest.mark.timeout(300)

NAMES = ("cold", "wet", "windy")

RECIPE = """
name = "weather"
task = "multilabel"
[data]
source = "table"
task = "multilabel"
rare_below = 3
{data}
[split]
folds = 2
fusion = 0.2
[fusion]
keep = "all"
[acceptance]
macro_f1 = 0.5
[members.forest]
family = "tree"
algorithm = "random_forest"
trees = 15
[members.linear]
family = "linear"
bins = 3
[members.near]
family = "neighbours"
"""


def weather(path: Path, *, tags: bool, rows: int = 600, seed: int = 3) -> None:
    """Temperature with gaps, pressure, season; three labels, as columns of 0 and 1 or as tags."""
    random = np.random.default_rng(seed)
    lines = ["temperature,pressure,season," + ("tags" if tags else ",".join(NAMES))]
    for _ in range(rows):
        season = random.integers(4)
        temperature, pressure = random.normal(5 * season, 4), random.normal(1000, 20)
        labels = (temperature < 5, pressure + random.normal(0, 5) < 985, random.random() < 0.1 + 0.2 * season)
        told = "" if random.random() < 0.1 else f"{temperature:.2f}"
        mine = "|".join(name for name, holds in zip(NAMES, labels, strict=True) if holds) if tags else ",".join(
            str(int(holds)) for holds in labels
        )  # fmt: skip
        lines.append(f"{told},{pressure:.1f},{('winter', 'spring', 'autumn', 'summer')[season]},{mine}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def loaded(folder: Path, text: str, **fields: Any) -> Dataset:
    (folder / "train.csv").write_text(text)
    return Table(task="multilabel", **fields).load(folder)


def test_columns_of_0_and_1_and_a_column_of_tags_say_the_same(tmp_path: Path) -> None:
    columns = loaded(tmp_path, "x,red,big\n1,1,0\n2,no,yes\n3,True,1\n4,0,0\n", labels=("red", "big"))
    tags = loaded(tmp_path, "x,tags\n1,red\n2,big\n3, big | red\n4,\n", separator="|", classes=("red", "big"))
    for found in (columns, tags):
        assert (found.task, found.classes) == ("multilabel", ("red", "big"))
        assert found.rows.target.tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]
        assert found.rows.inputs[NUMBERS].ravel().tolist() == [1, 2, 3, 4]
    assert loaded(tmp_path, "x,tags\n1,red\n2,big\n3,a;b\n4,\n", separator=";").classes == ("a", "b", "big", "red")


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("x,a,b\n1,1,0\n2,0,2\n3,0,1\n", {"labels": ("a", "b")}, "line 3: the label b is '2', expected 0 or 1"),
        ("x,a,b\n1,1,0\n2,0,0\n", {"labels": ("a", "b")}, "the label 'b' never holds"),
        ("x,a,b\n1,1,1\n2,1,0\n", {"labels": ("a", "b")}, "the label 'a' always holds"),
        ("x,a\n1,1\n2,0\n", {"labels": ("a", "c")}, "has no column 'c'"),
        ("x,a\n1,1\n2,0\n", {"labels": ("a",)}, "expected two different ones or more"),
        ("x,a\n1,1\n2,0\n", {}, "neither is set: a multilabel table has data.labels"),
        ("x,a\n1,1\n2,0\n", {"labels": ("a",), "separator": "|"}, "both are set"),
        ("x,t\n1,a\n2,b\n", {"separator": "|", "target": "u"}, "has no column 'u'"),
    ],
)
def test_a_mistake_in_the_labels_is_told(text: str, fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as told:
        loaded(tmp_path, text, **fields)
    assert message in str(told.value)


def test_labels_without_the_task_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("x,a,b\n1,1,0\n2,0,1\n")
    with pytest.raises(DataError, match=r"data\.task = \"multilabel\", it is 'classification'"):
        Table(labels=("a", "b")).load(tmp_path)


def test_a_tag_that_only_the_test_file_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("x,tags\n1,blue\n")
    with pytest.raises(DataError, match=r"test\.csv, line 2: the tag 'blue' is none of the training file's"):
        loaded(tmp_path, "x,tags\n1,red\n2,big\n", separator="|", test=("test.csv",))


def test_rare_labels_are_in_every_part_and_a_label_that_cannot_be_is_named() -> None:
    random = np.random.default_rng(0)
    target = (random.random((500, 3)) < np.array([0.5, 0.3, 0.04])).astype(np.int64)
    rows = DigitPairs().load(None).rows.take(np.arange(500))
    rows = type(rows).of(rows.inputs, target)
    parts = split(rows, SplitSpec(folds=4), 0, NAMES)
    for index in (parts.fit, parts.fusion, parts.test):
        assert 0.02 < target[index, 2].mean() < 0.06
    assert set(np.bincount(parts.fold[target[parts.fit, 2] > 0]) > 0) == {True}
    target[:, 2] = np.arange(500) == 7
    with pytest.raises(DataError, match=r"label 'windy' holds in . of the [0-9]+ rows of the (test|fusion|fit) split"):
        split(type(rows).of(rows.inputs, target), SplitSpec(), 0, NAMES)
    assert rarest(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])).tolist() == [1, 0, 3]


@pytest.mark.parametrize(
    "family",
    [
        Linear(bins=2, strength=0.1),
        Mlp(hidden=64, bins=4, training=Training(epochs=20, batch_rows=32)),
        Neighbours(most_rows=300),
        Tree(algorithm="extra_trees", trees=20, leaf_rows=2),
        Tree(trees=20, leaves=4, learning_rate=0.2),
    ],
    ids=["linear", "mlp", "neighbours", "forest", "boosting"],
)
def test_every_family_answers_each_label_as_its_graph_does_and_better_than_chance(family: Family) -> None:
    data = DigitPairs().load(None)
    fit, test = data.rows.take(np.arange(600)), data.rows.take(np.arange(600, 898))
    setting = Setting(data.tensors, data.ranges, data.columns, 0, "cpu", data.context, data.task)
    member = trained_alone(family, fit, setting)
    answers = member.predict(test.inputs)
    assert answers.shape == test.target.shape
    np.testing.assert_allclose(Graph(member.to_onnx()).in_batches(test.inputs), answers, atol=1e-4)
    p = 1 / (1 + np.exp(-answers)) if member.kind == "logits" else answers
    for label, holds in zip(p.T, test.target.T > 0, strict=True):
        assert label[holds].mean() > label[~holds].mean() + 0.08


@pytest.mark.parametrize("tags", [False, True], ids=["columns", "tags"])
def test_a_table_of_labels_is_exported_served_and_refitted(
    tags: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weather(tmp_path / "train.csv", tags=tags)
    recipe = tmp_path / "weather.toml"
    recipe.write_text(RECIPE.format(data='separator = "|"' if tags else f"labels = {list(NAMES)}"))
    command = [str(recipe), "--data", str(tmp_path / "train.csv"), "--repository", str(tmp_path / "models"),
               "--report", str(tmp_path / "report"), "--workers", "1"]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "macro F1" in said
    assert "threshold" in said
    version = Repository(tmp_path / "models").open("weather", 1)
    manifest = version.manifest
    assert (manifest.task, manifest.classes, len(manifest.thresholds)) == ("multilabel", NAMES, 3)
    assert {row["threshold"] for row in manifest.report["labels"].values()} == set(manifest.thresholds)
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    rows = {
        NUMBERS: np.array([[-9, 1020], [25, 950], [np.nan, 950]], dtype=np.float32),
        "categories": np.array([["winter"], ["summer"], ["monsoon"]], dtype=object),
    }
    found = ensemble.predict(rows, ["probabilities", "labels"]).outputs
    ensemble.close()
    assert found["labels"][:2, :2].tolist() == [[True, False], [False, True]]
    board = json.loads((tmp_path / "report" / "leaderboard.json").read_text())
    assert [row["name"] for row in board["labels"]] == list(NAMES)

    done = refit(Repository(tmp_path / "models"), "weather", None, Wanted(drop=("near",), rules=("mean",)), None)
    assert [member.name for member in done.version.manifest.members] == ["forest", "linear"]
    assert len(done.version.manifest.thresholds) == 3
    assert [row.name for row in done.board.labels] == list(NAMES)


def test_pairs_of_digits_share_no_digit_and_say_which_are_there() -> None:
    data = DigitPairs().load(None)
    assert (data.classes, len(data.rows)) == (tuple("0123456789"), 898)
    assert set(data.rows.target.sum(axis=1)) == {1, 2}
    halves = data.rows.inputs[NUMBERS].reshape(-1, 8, 2, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
    assert len(np.unique(halves, axis=0)) == 2 * 898
    with pytest.raises(DataError, match=r"data\.source=table"):
        DigitPairs().load(Path("here"))
    assert f1(data.rows.target > 0, data.rows.target).tolist() == [1.0] * 10
