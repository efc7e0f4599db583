"""Members for nodes: right on a small graph, a new node beside a known one, cold starts, the same as ONNX."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from exporter.errors import TrainingError
from exporter.gate.inference import Graph as OnnxGraph
from exporter.gate.parity import check_parity
from exporter.gate.sweep import Sweep
from exporter.graphs.families import Embedding, Gcn, GraphSage, Linear, NodeTraining, Propagation, Tree
from exporter.members.base import Setting, Trained
from exporter.recipe.families import Family
from exporter.recipe.sources import Dataset, Graph, Rows
from exporter.threads import one_thread
from server.runtime.answer.calibration import calibrate
from tests.exporter.graphs.samples import graph, write
from tests.exporter.samples import trained_alone

QUICK = NodeTraining(epochs=60, learning_rate=0.02)
FAMILIES = {
    "gcn": Gcn(hidden=8, training=QUICK),
    "pagerank": Gcn(hidden=8, back=0.2, training=QUICK),
    "sage": GraphSage(hidden=8, training=QUICK),
    "walks": Embedding(dimensions=8),
    "spectral": Embedding(dimensions=8, method="spectral", inverse_penalty=10.0),
    "propagation": Propagation(),
    "linear": Linear(steps=2),
    "forest": Tree(trees=20, dimensions=6),
}
CONVERTED = ("gcn", "walks", "forest")
"""One of each kind of graph; an export takes some seconds each, and goes through the same gate."""


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """As trainings run: on one thread, so that none waits for another."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Graph(neighbours=24).load(write(tmp_path_factory.mktemp("graph"), graph()))


@pytest.fixture(scope="module")
def trained(data: Dataset) -> dict[str, Trained]:
    return {name: trained_alone(family, part(data, 0), setting(data)) for name, family in FAMILIES.items()}


def setting(data: Dataset) -> Setting:
    return Setting(data.tensors, data.ranges, 3, 3, "cpu", data.context, data.task)


def part(data: Dataset, number: int) -> Rows:
    return data.rows.take(np.flatnonzero(data.rows.part == number))


@pytest.mark.parametrize("name", FAMILIES)
def test_each_member_is_right_on_most_and_knows_a_node_that_is_sent_as_a_new_one(
    name: str, trained: dict[str, Trained], data: Dataset
) -> None:
    test, member = part(data, 1), trained[name]
    known = calibrate(member.predict(test.inputs), member.kind)
    assert (known.argmax(axis=1) == test.target).mean() > 0.7
    new = calibrate(member.predict({**test.inputs, "node": np.full(len(test), -1)}), member.kind)
    assert (new.argmax(axis=1) == known.argmax(axis=1)).mean() > 0.85
    if name in ("gcn", "pagerank", "sage", "linear", "forest"):  # all neighbours fit: the path is exact
        assert new == pytest.approx(known, abs=2e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_new_node_without_neighbours_is_answered(name: str, trained: dict[str, Trained], data: Dataset) -> None:
    test, member = part(data, 1), trained[name]
    alone = {
        "features": test.inputs["features"],
        "neighbours": np.full_like(test.inputs["neighbours"], -1),
        "node": np.full(len(test), -1),
    }
    answer = calibrate(member.predict(alone), member.kind)
    assert np.isfinite(answer).all()
    assert answer.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    if isinstance(FAMILIES[name], Embedding | Propagation):  # they know nothing but neighbours: one cold row for all
        assert np.ptp(answer, axis=0).max() < 1e-6
        assert answer.max() < 0.9
    elif name != "forest":
        assert (answer.argmax(axis=1) == test.target).mean() > 0.5


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_request_says_of_a_known_node_beside_its_number_is_not_looked_at(
    name: str, trained: dict[str, Trained], data: Dataset
) -> None:
    test, member = part(data, 1), trained[name]
    bare = {**test.inputs, "features": np.zeros_like(test.inputs["features"]),
            "neighbours": np.full_like(test.inputs["neighbours"], 10**12)}  # fmt: skip
    assert np.array_equal(member.predict(bare), member.predict(test.inputs))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", CONVERTED)
def test_onnx_answers_alike(name: str, trained: dict[str, Trained], data: Dataset) -> None:
    member, held = trained[name], part(data, 2)
    exported = OnnxGraph(member.to_onnx())
    new = Rows({**held.inputs, "node": np.full(len(held), -1)}, held.target, held.ids, held.part, held.group)
    for rows in (held, new):
        check_parity(member.predict, exported, Sweep.of(rows, data), member.kind, member.tolerance)


@pytest.mark.parametrize("family", [Gcn(hidden=4, training=NodeTraining(epochs=3)), Embedding(dimensions=4)])
def test_a_seed_gives_the_same_answers(family: Family, data: Dataset) -> None:
    rows = part(data, 0)
    one, two = (trained_alone(family, rows, setting(data)).predict(rows.inputs) for _ in range(2))
    assert np.array_equal(one, two)


def test_a_class_without_rows_is_improbable_and_no_forest_grows(data: Dataset) -> None:
    fit = part(data, 0)
    two = fit.take(np.flatnonzero(fit.target != 2))
    for name in ("linear", "walks", "propagation"):
        member = trained_alone(FAMILIES[name], two, setting(data))
        assert calibrate(member.predict(part(data, 1).inputs), member.kind)[:, 2].max() < 1e-2
    with pytest.raises(TrainingError, match="the rows have 2 of 3 classes"):
        FAMILIES["forest"].train(two, setting(data))
