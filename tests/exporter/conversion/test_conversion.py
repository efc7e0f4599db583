"""Converted graphs: normalised, without traces of the machine, and exact where they can be."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from exporter.conversion.tree_graph import below
from exporter.data.dataset import Dataset, Rows
from exporter.gate.inference import Graph
from exporter.gate.parity import check_parity
from exporter.gate.sweep import Sweep
from exporter.images.families import Cnn, Gru, Lstm, Pca, Retrieval, Tree, Vit, Wavelet
from exporter.images.networks.haar import Haar
from exporter.members.base import Family, Setting, Training
from exporter.recipe.sources import Digits, clean
from tests.exporter.samples import trained_alone

pytestmark = pytest.mark.timeout(300)  # the first conversion imports torch and its exporter

QUICK = Training(epochs=1)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """All digits, cleaned."""
    return clean(Digits().load(None), "error")[0]


@pytest.fixture(scope="module")
def fit(digits: Dataset) -> Rows:
    """Three hundred rows."""
    return digits.rows.take(np.arange(300))


@pytest.mark.parametrize(
    "family",
    [
        Cnn(width=4, training=QUICK),
        Gru(hidden=6, training=QUICK),
        Lstm(hidden=6, training=QUICK),
        Pca(components=10, hidden=8, training=QUICK),
        Wavelet(hidden=8, training=QUICK),
        Retrieval(width=4, training=QUICK),
        Vit(width=8, attention_heads=2, layers=1, training=QUICK),
        Tree(trees=5),
        Tree(algorithm="random_forest", trees=5),
        Tree(algorithm="extra_trees", trees=5),
    ],
    ids=lambda family: getattr(family, "algorithm", family.__struct_config__.tag),
)
def test_each_family_becomes_a_normalised_graph_that_answers_alike(family: Family, digits: Dataset, fit: Rows) -> None:
    setting = Setting(digits.inputs, digits.ranges, 10, seed=3)
    trained = trained_alone(family, fit, setting)
    data = trained.to_onnx()
    rows = digits.rows.take(np.arange(300, 400))
    check_parity(trained.predict, Graph(data), Sweep.of(rows, digits), trained.kind, trained.tolerance)

    model = onnx.load_from_string(data)
    (entry,), (output,) = model.graph.input, model.graph.output
    assert entry.name == "image"
    assert [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim] == ["n", 8, 8]
    assert [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim] == ["n", 10]
    assert {o.domain: o.version for o in model.opset_import}[""] == 20
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert b".py" not in data
    assert b"site-packages" not in data


def test_a_seed_gives_the_same_bytes_each_time_and_another_seed_others(digits: Dataset, fit: Rows) -> None:
    family = Pca(components=4, hidden=4, training=QUICK)
    graphs = [family.train(fit, Setting(digits.inputs, digits.ranges, 10, seed)).to_onnx() for seed in (1, 1, 2)]
    assert graphs[0] == graphs[1]
    assert graphs[0] != graphs[2]


def test_training_leaves_the_global_generator_alone(digits: Dataset, fit: Rows) -> None:
    torch.manual_seed(17)
    expected = torch.rand(3)
    torch.manual_seed(17)
    Pca(components=4, hidden=4, training=QUICK).train(fit, Setting(digits.inputs, digits.ranges, 10, 5))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_wavelet_transform_is_pywavelets(levels: int) -> None:
    pywt = pytest.importorskip("pywt")
    image = np.random.default_rng(4).normal(size=(8, 8)).astype(np.float32)
    found = Haar(1, levels)(torch.from_numpy(image[None, None])).numpy()[0]
    approximation, *details = pywt.wavedec2(image, "haar", level=levels)
    expected = [approximation.ravel(), *(np.stack(level).ravel() for level in details)]
    assert found == pytest.approx(np.concatenate(expected), abs=1e-5)


def test_a_threshold_is_lowered_to_the_next_float32() -> None:
    """Halfway between 16 and its lower neighbour: rounded to the nearest it is 16, and 16 would go left."""
    low = np.nextafter(np.float32(16), np.float32(0))
    halfway = (np.float64(low) + 16) / 2
    thresholds: NDArray[np.float64] = np.array([halfway, 0.5, 1e-35, -halfway])
    lowered = below(thresholds)
    assert lowered[0] == np.float64(low)
    assert lowered[1] == 0.5
    assert (lowered <= thresholds).all()
    for value in (low, np.float32(16)):
        assert (value <= lowered[0]) == (value <= halfway)


def test_trees_answer_exactly_alike_on_values_next_to_their_thresholds(digits: Dataset, fit: Rows) -> None:
    setting = Setting(digits.inputs, digits.ranges, 10, seed=3)
    trained = trained_alone(Tree(trees=20, copies=2), fit, setting)
    graph = Graph(trained.to_onnx())
    near = np.random.default_rng(0).choice(
        np.array([0, 1e-35, 8, 15.999999, 16, np.nextafter(np.float32(16), np.float32(0))], dtype=np.float32),
        (500, 8, 8),
    )
    assert graph({"image": near}) == pytest.approx(trained.predict({"image": near}), abs=1e-6)
