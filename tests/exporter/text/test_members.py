"""Each family learns, is the same for the same seed, and computes in its graph what it computed before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfTransformer

from exporter.errors import TrainingError
from exporter.gate.inference import Graph
from exporter.gate.parity import check_parity
from exporter.gate.sweep import Sweep
from exporter.members.base import Family
from exporter.recipe.families import FAMILIES
from exporter.text.families import Bert, Cnn, Gpt, Gru, Linear, Lstm, Recursive
from exporter.text.families.training import TextTraining
from exporter.text.networks.bag import Features
from exporter.text.networks.fitting import batches, dropped, trimmed
from exporter.text.networks.linear import counted, inverse_frequencies, weighted
from tests.exporter.samples import trained_alone
from tests.exporter.text.data import Prepared, prepared

QUICK = TextTraining(epochs=4, learning_rate=8e-3)
TINY: dict[str, Any] = {"size": 16, "training": QUICK}
FAMILY: dict[str, Family] = {
    "linear": Linear(buckets=256),
    "cnn": Cnn(filters=12, **TINY),
    "gru": Gru(hidden=12, **TINY),
    "lstm": Lstm(hidden=12, **TINY),
    "recursive": Recursive(**TINY),
    "bert": Bert(layers=1, attention_heads=2, **TINY),
    "gpt": Gpt(layers=1, attention_heads=2, **TINY),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("texts"))


def on_windows(family: Family) -> Family:
    import msgspec

    return msgspec.structs.replace(family, tokens="windows")  # every one of them has it


def test_every_family_is_in_the_list_of_its_domain() -> None:
    assert set(FAMILIES["text"]) == set(FAMILY)


@pytest.mark.parametrize("name", FAMILY)
def test_a_member_learns_and_its_graph_computes_the_same(name: str, data: Prepared) -> None:
    trained = trained_alone(FAMILY[name], data.fit, data.setting())
    graph = Graph(trained.to_onnx())
    assert graph.inputs == ("tokens",)
    answers = graph(data.held.inputs)
    assert (answers.argmax(axis=1) == data.held.target).mean() > 0.9
    sweep = Sweep.of(data.held, data.dataset, graph.inputs)
    parity = check_parity(trained.predict, graph, sweep, trained.kind, trained.tolerance)
    assert parity.forms, "other lengths and other padding were tried"


@pytest.mark.parametrize("name", ["linear", "cnn", "bert"])
def test_a_member_over_windows_learns_and_its_graph_computes_the_same(name: str, data: Prepared) -> None:
    trained = trained_alone(on_windows(FAMILY[name]), data.fit, data.setting())
    graph = Graph(trained.to_onnx())
    assert graph.inputs == ("windows",)
    assert (graph(data.held.inputs).argmax(axis=1) == data.held.target).mean() > 0.9
    sweep = Sweep.of(data.held, data.dataset, graph.inputs)
    check_parity(trained.predict, graph, sweep, trained.kind, trained.tolerance)


@pytest.mark.parametrize("name", ["linear", "gru", "recursive"])
def test_the_same_seed_gives_the_same_member(name: str, data: Prepared) -> None:
    first, again = (trained_alone(FAMILY[name], data.fit, data.setting(7)).predict(data.held.inputs) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_weights_of_words_are_scikit_learns(data: Prepared) -> None:
    counts = counted(Features(150, 64, 0), data.fit.inputs["tokens"])
    ours = weighted(counts, inverse_frequencies(Linear(least_rows=1), counts))
    theirs = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    np.testing.assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-12)


def test_a_class_that_the_rows_do_not_have_is_never_the_answer(data: Prepared) -> None:
    import dataclasses

    setting = dataclasses.replace(data.setting(), columns=3)
    answers = trained_alone(Linear(buckets=64), data.fit, setting).predict(data.held.inputs)
    assert answers.shape[1] == 3
    assert (answers[:, 2] < answers[:, :2].min(axis=1)).all()


def test_batches_hold_rows_of_about_one_length_and_every_row_once() -> None:
    counts = torch.arange(100) % 10
    parts = list(batches(counts, 10, torch.Generator().manual_seed(0)))
    assert sorted(torch.cat(parts).tolist()) == list(range(100))
    assert all(int(counts[part].max() - counts[part].min()) <= 1 for part in parts)


def test_padding_that_all_rows_have_is_cut_off() -> None:
    assert trimmed(torch.tensor([[1, 0, 0], [1, 2, 0]])).tolist() == [[1, 0], [1, 2]]
    assert trimmed(torch.zeros(2, 3, dtype=torch.int64)).tolist() == [[0], [0]]
    windows = torch.zeros(2, 3, 4, dtype=torch.int64)
    windows[1, :2, 0] = 5
    assert trimmed(windows).shape == (2, 2, 1)


def test_hidden_words_become_unknown_and_padding_stays() -> None:
    ids = torch.tensor([[5] * 500 + [0] * 500])
    hidden = dropped(ids, 0.5, torch.Generator().manual_seed(0))
    assert (hidden[0, 500:] == 0).all()
    assert 150 < int((hidden[0, :500] == 1).sum()) < 350
    assert dropped(ids, 0.0, torch.Generator()) is ids


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (Cnn(widths=(2, 3)), r"widths has \[2\], expected odd numbers"),
        (Bert(size=10, attention_heads=4), "size is 10, expected a multiple of its 4 attention heads"),
        (Gru(tokens="pieces"), "takes the tensor 'pieces', the data has text, tokens, windows"),
        (Linear(tokens="text"), "takes the tensor 'text', which is no tokenizer's"),
    ],
)
def test_what_cannot_be_trained_is_named(family: Family, message: str, data: Prepared) -> None:
    with pytest.raises(TrainingError, match=message):
        family.train(data.fit, data.setting())
