"""Members on tables: the graph answers as the member does, with gaps and words that nobody has seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.data.dataset import Dataset, Rows
from exporter.data.splits import SplitSpec, split
from exporter.gate.inference import Graph
from exporter.gate.parity import check_parity
from exporter.gate.sweep import Sweep
from exporter.members.base import Setting, Training
from exporter.tables.families import Linear, Mlp, Tree
from exporter.tables.networks.columns import Statistics
from exporter.tables.networks.encodings import Bins, Means, OneHot
from exporter.tables.source import CATEGORIES, NUMBERS, Table
from tests.exporter.samples import trained_alone
from tests.exporter.tables.samples import people

pytestmark = pytest.mark.timeout(300)  # the first conversion imports torch and its exporter

QUICK = Training(epochs=1, batch_rows=32)


def prepared(folder: Path, source: Table) -> tuple[Dataset, Rows, Rows]:
    """The sample with its vocabulary, its fit rows and its test rows."""
    people(folder / "train.csv")
    data = source.load(folder)
    parts = split(data.rows, SplitSpec(test=0.3, fusion=0.1, golden=4, folds=0), 0, data.classes)
    data = source.prepare(data, parts, 0)
    return data, data.rows.take(parts.fit), data.rows.take(parts.test)


def setting_of(data: Dataset) -> Setting:
    return Setting(data.inputs, data.ranges, data.columns, 3, context=data.context, task=data.task)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all."""
    return tmp_path_factory.mktemp("people")


CLASSES = Table(target="kind", ignored=("score",), rare_below=3)
VALUE = Table(target="score", ignored=("kind",), rare_below=3, task="regression")


@pytest.mark.parametrize(
    ("source", "family"),
    [
        (CLASSES, Tree(trees=5, leaves=5, categories="means")),
        (VALUE, Tree(algorithm="random_forest", trees=5, categories="one_hot")),
        (CLASSES, Linear(bins=4)),
        (CLASSES, Mlp(bins=4, width=2, hidden=8, training=QUICK)),
    ],
    ids=["boosting", "forest of a value", "logistic", "mlp"],
)
def test_the_graph_takes_strings_and_gaps_and_answers_as_the_member(
    source: Table, family: Tree | Linear | Mlp, folder: Path
) -> None:
    data, fit, test = prepared(folder, source)
    member = trained_alone(family, fit, setting_of(data))
    graph = Graph(member.to_onnx())
    check_parity(member.predict, graph, Sweep.of(test, data), member.kind, member.tolerance)
    one = {name: array[:1].copy() for name, array in test.inputs.items()}
    gap = {**one, NUMBERS: np.full((1, 2), np.nan, np.float32)}
    assert np.isfinite(graph(gap)).all()
    strange = {**one, CATEGORIES: np.array([["astronaut", "hamlet"]], dtype=object)}
    nothing = {**one, CATEGORIES: np.array([["", ""]], dtype=object)}
    assert np.array_equal(graph(strange), graph(nothing))
    assert not np.array_equal(graph(gap), graph({**one, NUMBERS: np.array([[75, 30]], dtype=np.float32)}))


def test_members_learn_what_the_table_says(folder: Path) -> None:
    data, fit, test = prepared(folder, VALUE)
    idle = np.abs(test.target - fit.target.mean()).mean()
    for family in (Tree(trees=60, leaves=7), Linear(bins=4)):
        found = trained_alone(family, fit, setting_of(data)).predict(test.inputs)[:, 0]
        assert np.abs(found - test.target).mean() < 0.6 * idle, type(family).__name__


@pytest.mark.parametrize("only", [NUMBERS, CATEGORIES])
def test_a_table_of_numbers_alone_or_of_categories_alone_will_do(only: str, folder: Path) -> None:
    ignored = ("score", "job", "town") if only == NUMBERS else ("score", "age", "pay")
    data, fit, test = prepared(folder, Table(target="kind", ignored=ignored, rare_below=3))
    assert [entry.name for entry in data.inputs] == [only]
    member = trained_alone(Linear(bins=4), fit, setting_of(data))
    assert Graph(member.to_onnx())(test.inputs) == pytest.approx(member.predict(test.inputs), abs=1e-4)


def test_bins_are_piecewise_linear_and_see_beyond_a_column_of_zeros() -> None:
    column = np.concatenate([np.zeros(95), [10, 20, 30, 40, 50]]).astype(np.float32)[:, None]
    bins = Bins(column, 5)
    assert bins.width >= 4
    found = bins(torch.tensor([[0.0], [50.0], [15.0]]))
    assert found[0].sum() == 0
    assert found[1].sum() == bins.width
    assert found[0].sum() < found[2].sum() < found[1].sum()


def test_a_column_without_a_single_number_is_no_trouble() -> None:
    numbers = np.array([[np.nan, 1.0], [np.nan, 3.0], [np.nan, np.nan]], dtype=np.float32)
    found = Statistics.of(numbers)
    assert found.median.tolist() == [0.0, 2.0]
    assert found.deviation.tolist() == [1.0, 1.0]
    assert found.gaps.tolist() == [0, 1]
    assert torch.isfinite(Bins(numbers, 3)(torch.from_numpy(np.nan_to_num(numbers)))).all()


def test_the_unknown_is_nothing_in_one_hot_and_the_overall_mean_in_means() -> None:
    places = np.array([[1], [1], [2], [2]], dtype=np.int64)
    target = np.array([[1.0], [1.0], [0.0], [0.0]])
    means = Means(places, target, (3,))(torch.tensor([[0], [1], [2]]))
    assert means[0, 0] == 0.5
    assert means[1, 0] > 0.5 > means[2, 0]
    assert OneHot((3,))(torch.tensor([[0], [1], [2]])).tolist() == [[0, 0], [1, 0], [0, 1]]
