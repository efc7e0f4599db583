"""Features and trees in one graph; strings in front of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from exporter.conversion.compose import composed, features_then_trees
from exporter.conversion.strings import Vocabulary, strings_first
from exporter.conversion.torch_graph import to_onnx
from exporter.conversion.tree_graph import tree_graph
from exporter.errors import ConversionError
from exporter.gate.inference import Graph
from model_repo import Input
from model_repo.format.manifest import Kind

pytestmark = pytest.mark.timeout(300)  # the first conversion imports torch and its exporter

NUMBERS = Input(name="numbers", datatype="FP32", shape=(-1, 3))
PATCH = Input(name="patch", datatype="FP32", shape=(-1, 2, 2))
WORDS = Input(name="words", datatype="INT64", shape=(-1, 2))
WIDTH = 7


class Features(nn.Module):
    """The numbers, and the patch doubled: [n, 7]."""

    def forward(self, numbers: Tensor, patch: Tensor) -> Tensor:
        return torch.cat([numbers, 2 * patch.flatten(1)], dim=1)


class Table(nn.Module):
    """One weight per place, summed: [n, 1]."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.arange(1.0, places + 1))

    def forward(self, words: Tensor) -> Tensor:
        return self.weights[words].sum(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def rows() -> dict[str, NDArray[np.float32]]:
    """A hundred rows of both inputs."""
    random = np.random.default_rng(7)
    return {
        "numbers": random.normal(size=(100, 3)).astype(np.float32),
        "patch": random.normal(size=(100, 2, 2)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def front() -> onnx.ModelProto:
    """The features as a graph."""
    return onnx.load_from_string(to_onnx(Features().eval(), (NUMBERS, PATCH), "value", WIDTH))


def test_a_module_and_trees_are_one_graph(rows: dict[str, NDArray[np.float32]]) -> None:
    x = Features()(*map(torch.from_numpy, rows.values())).numpy()
    trees = LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1).fit(x, x[:, 0] > 0)
    graph = Graph(features_then_trees(Features(), trees, (NUMBERS, PATCH), WIDTH, "probabilities", 2))
    assert graph(rows)[:, 1] == pytest.approx(trees.booster_.predict(x), abs=1e-5)


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1), "probabilities"),
        (LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1, objective="l1"), "value"),
        (RandomForestClassifier(4, random_state=0), "probabilities"),
        (ExtraTreesRegressor(4, random_state=0), "value"),
        (LogisticRegression(), "probabilities"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_features_of_several_inputs_and_any_estimator_are_one_graph(
    estimator: Any, kind: Kind, rows: dict[str, NDArray[np.float32]], front: onnx.ModelProto
) -> None:
    x = Features()(*map(torch.from_numpy, rows.values())).numpy()
    regression = kind == "value"
    estimator.fit(x, x.sum(axis=1) if regression else np.digitize(x.sum(axis=1), [-2, 2]))
    columns = 1 if regression else 3
    data = composed(front, tree_graph(estimator, WIDTH), (NUMBERS, PATCH), kind, columns)
    expected = estimator.predict(x)[:, None] if regression else estimator.predict_proba(x)
    graph = Graph(data)
    assert graph(rows) == pytest.approx(expected, abs=1e-5)
    assert graph({name: array[:1] for name, array in rows.items()}) == pytest.approx(expected[:1], abs=1e-5)
    model = onnx.load_from_string(data)
    assert [entry.name for entry in model.graph.input] == ["numbers", "patch"]
    assert [entry.name for entry in model.graph.output] == [kind]


def test_trees_fitted_on_other_features_are_refused(front: onnx.ModelProto) -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    trees = tree_graph(RandomForestClassifier(2).fit(x, x[:, 0] > 0), 4)
    with pytest.raises(ConversionError, match=r"the features are \[n, 7\], the trees were fitted on \[n, 4\]"):
        composed(front, trees, (NUMBERS, PATCH), "probabilities", 2)
    with pytest.raises(ConversionError, match="needs an output 'variable', its graph has"):
        composed(front, trees, (NUMBERS, PATCH), "value", 1)


def test_strings_become_places_and_unknown_ones_the_last() -> None:
    vocabulary = Vocabulary(["", "Grün", "red", "颜色"])
    data = strings_first(to_onnx(Table(5).eval(), (WORDS,), "value", 1), {"words": vocabulary})
    strings = np.array([["red", "颜色"], ["Grün", ""], ["RED", "never seen"]], dtype=object)
    assert vocabulary(strings).tolist() == [[2, 3], [1, 0], [4, 4]]
    assert Graph(data)({"words": strings})[:, 0].tolist() == [7.0, 3.0, 10.0]
    assert {entry.domain: entry.version for entry in onnx.load_from_string(data).opset_import}["ai.onnx.ml"] == 1


def test_an_input_that_takes_no_places_is_refused(front: onnx.ModelProto) -> None:
    data = front.SerializeToString()
    with pytest.raises(ConversionError, match="no INT64 input 'numbers', its inputs are numbers, patch"):
        strings_first(data, {"numbers": Vocabulary(["a"])})
    with pytest.raises(ConversionError, match="more than once"):
        Vocabulary(["a", "a"])
