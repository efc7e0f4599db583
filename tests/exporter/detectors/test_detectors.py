"""Detectors: what they find strange, that their graphs say the same, and what they cannot take."""

from __future__ import annotations

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from exporter.data.dataset import Dataset, Rows
from exporter.data.splits import SplitSpec, split
from exporter.detectors import DETECTORS
from exporter.detectors.autoencoder import Autoencoder
from exporter.detectors.foreign import auroc
from exporter.detectors.isolation_forest import IsolationForest
from exporter.detectors.kmeans import KMeans
from exporter.detectors.spec import DetectorFamily
from exporter.errors import TrainingError
from exporter.gate.inference import Graph
from exporter.members.base import Setting, Training
from exporter.tables.source import CATEGORIES, WORDS
from exporter.training.jobs import FINAL, Job, run_job
from model_repo import Input

RNG = np.random.default_rng(0)
QUICK: dict[str, DetectorFamily] = {
    "autoencoder": Autoencoder(hidden=16, code=3, training=Training(epochs=15, batch_rows=32, learning_rate=2e-2)),
    "kmeans": KMeans(clusters=4, components=3),
    "isolation_forest": IsolationForest(trees=30, rows_per_tree=64, components=3),
}


def plane(rows: int) -> NDArray[np.float32]:
    """Points near a plane of three dimensions in eight."""
    base = np.random.default_rng(7).normal(size=(3, 8))
    return (RNG.normal(size=(rows, 3)) @ base + RNG.normal(0, 0.05, (rows, 8))).astype(np.float32)


def numbers() -> Dataset:
    x = plane(160)
    x[3, 2] = np.nan
    rows = Rows.of({"x": x}, RNG.integers(0, 2, 160))
    return Dataset(rows, ("a", "b"), (Input(name="x", datatype="FP32", shape=(-1, 8)),), may_miss=frozenset({"x"}))


@pytest.mark.parametrize("tag", list(QUICK))
def test_a_detector_finds_points_beside_the_plane_stranger(tag: str) -> None:
    data = numbers()
    parts = split(data.rows, SplitSpec(folds=0, golden=5, test=0.3, fusion=0.2), 0, data.classes)
    made = run_job(Job(tag, QUICK[tag], FINAL, 0), data, parts)
    assert made.outputs.shape == (len(parts.fusion), 1)
    graph = Graph(made.onnx)
    usual = graph.in_batches({"x": plane(50)})
    beside = graph.in_batches({"x": RNG.normal(0, 3, (50, 8)).astype(np.float32)})
    assert auroc(usual[:, 0], beside[:, 0]) > 0.9
    far = graph.in_batches({"x": np.full((1, 8), 1e30, np.float32)})
    assert far[0, 0] > usual.max()
    assert made.output_name == "value"


def test_the_forest_s_graph_gives_scikit_learn_s_own_scores() -> None:
    from sklearn.ensemble import IsolationForest as Forest

    from exporter.detectors.networks.isolation_graph import isolation_graph

    x = RNG.normal(size=(300, 4)).astype(np.float32)
    forest = Forest(n_estimators=20, max_samples=64, random_state=0, max_features=3).fit(x)
    data = isolation_graph(forest, 4).SerializeToString()
    found = Graph(data).in_batches({"flat": x})[:, 0]
    np.testing.assert_allclose(found, -forest.score_samples(x), atol=1e-5)
    assert len(onnx.load_from_string(data).graph.node) == 3


def test_pixels_are_scaled_by_their_range_and_wide_rows_keep_what_lies_beside_the_components() -> None:
    from exporter.detectors.networks.components import Components

    images = RNG.integers(0, 17, (40, 4, 4)).astype(np.uint8)
    entry = Input(name="image", datatype="UINT8", shape=(-1, 4, 4))
    rows = Rows.of({"image": images}, np.zeros(40, np.int64))
    made = Components(rows, Setting((entry,), {"image": (0.0, 16.0)}, 1, 0), 5)
    found = made.of(rows)
    assert found.shape == (40, 6)
    flat = images.reshape(40, -1) / 16.0
    whole = np.square(flat - flat.mean(axis=0)).sum(axis=1)
    np.testing.assert_allclose(np.square(found).sum(axis=1), whole, rtol=1e-3, atol=1e-4)


def table() -> Dataset:
    """Amounts, and two columns of words that always go together; one word is rare."""
    pairs = np.array([["red", "car"], ["blue", "bus"]], np.object_)[RNG.integers(0, 2, 120)]
    pairs[0, 0] = "gold"
    inputs = (
        Input(name="numbers", datatype="FP32", shape=(-1, 2)),
        Input(name=CATEGORIES, datatype="BYTES", shape=(-1, 2)),
    )
    amounts = RNG.normal(50, 5, (120, 2)).astype(np.float32)
    amounts[5, 1] = np.nan
    rows = Rows.of({"numbers": amounts, CATEGORIES: pairs}, RNG.integers(0, 2, 120))
    context = {WORDS: np.array(["", "blue", "bus", "car", "gold", "red"], np.str_)}
    return Dataset(rows, ("a", "b"), inputs, context=context)


@pytest.mark.parametrize("tag", ["kmeans", "isolation_forest"])
def test_a_table_s_categories_are_words_to_the_graph_and_unknown_ones_are_strange(tag: str) -> None:
    data = table()
    parts = split(data.rows, SplitSpec(folds=0, golden=5, test=0.2, fusion=0.2), 0, data.classes)
    graph = Graph(run_job(Job(tag, QUICK[tag], FINAL, 0), data, parts).onnx)
    usual = {"numbers": np.full((1, 2), 50, np.float32), CATEGORIES: np.array([["red", "car"]], np.object_)}
    unknown = {**usual, CATEGORIES: np.array([["submarine", "?"]], np.object_)}
    assert graph(unknown)[0, 0] > graph(usual)[0, 0]


def test_texts_and_lengths_that_vary_are_refused_by_name() -> None:
    rows = Rows.of({"text": np.array(["a", "b"], np.object_)}, np.zeros(2, np.int64))
    setting = Setting((Input(name="text", datatype="BYTES", shape=(-1,)),), {}, 2, 0)
    with pytest.raises(TrainingError, match="detectors take numbers of fixed shape, 'text' is BYTES"):
        KMeans(clusters=1).train(rows, setting)
    with pytest.raises(TrainingError, match="clusters is 20, there are 2 rows to fit"):
        KMeans().train(rows, setting)


def test_every_family_stands_by_its_defaults() -> None:
    assert set(DETECTORS) == {"autoencoder", "kmeans", "isolation_forest"}
    for family in DETECTORS.values():
        assert msgspec.convert(msgspec.to_builtins(family()), family) == family()
