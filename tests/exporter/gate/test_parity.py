"""The parity gate: a graph that computes something else than its member is caught, and the rows are named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Dataset, Rows
from exporter.errors import ParityError
from exporter.gate.inference import Graph
from exporter.gate.parity import Answer, check_parity
from exporter.gate.sweep import BATCH_ROWS, Sweep
from exporter.members.base import NETWORK, TREES, Setting
from exporter.members.torch_member import TorchMember
from model_repo import Input
from tests import graphs

pytestmark = pytest.mark.timeout(300)  # the first conversion imports torch and its exporter

W = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
INPUT = Input(name="x", datatype="FP32", shape=(-1, 4))
Feeds = Mapping[str, NDArray[Any]]


@pytest.fixture
def sweep() -> Sweep:
    """Forty rows with ids from 100 on, their classes, and two edge rows."""
    x = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
    y = (x @ W).argmax(axis=1).astype(np.int64)
    edges = {"x": np.array([[0, 0, 0, 0], [9, 9, 9, 9]], dtype=np.float32)}
    rows = replace(Rows.of({"x": x}, y), ids=np.arange(100, 140))
    return Sweep.of(rows, Dataset(rows, ("a", "b", "c"), (INPUT,), edges=edges))


def member(feeds: Feeds) -> NDArray[np.float32]:
    """The trained member: logits x W."""
    found: NDArray[np.float32] = feeds["x"] @ W
    return found


def graph(weights: NDArray[np.float32]) -> Graph:
    return Graph(graphs.linear(weights))


def test_a_faithful_graph_passes_in_every_batch_size(sweep: Sweep) -> None:
    found = check_parity(member, graph(W), sweep, "logits", NETWORK)
    assert found.rows == 42
    assert found.largest_difference < 1e-5
    assert found.batch_rows == BATCH_ROWS == (1, 2, 7, 33)


def test_permuted_classes_are_caught(sweep: Sweep) -> None:
    with pytest.raises(ParityError, match=r"in batches of 1 \d+ of 42 rows differ"):
        check_parity(member, graph(W[:, [1, 2, 0]]), sweep, "logits", NETWORK)


def test_a_permutation_within_a_loose_tolerance_is_caught_by_the_classes(sweep: Sweep) -> None:
    """Accuracy alone can stay as it is when columns are exchanged; the rows' classes do not."""
    loose = TREES.__class__(atol=1e9, rtol=0.0)
    with pytest.raises(ParityError, match=r"in batches of 1 the class changes: row 1\d\d"):
        check_parity(member, graph(W[:, [1, 0, 2]]), sweep, "logits", loose)


def test_the_message_names_the_rows_and_the_edge_rows(sweep: Sweep) -> None:
    def wrong(feeds: Feeds) -> NDArray[np.float32]:
        found = member(feeds)
        found[(feeds["x"][:, 0] == 9)] += 1
        found[(feeds["x"] == sweep.inputs["x"][7]).all(axis=1)] += 1
        return found

    with pytest.raises(ParityError, match=r"2 of 42 rows differ, by up to 1 .*: row 107, edge row 1"):
        check_parity(member, wrong, sweep, "logits", NETWORK)


def test_one_tree_row_in_a_thousand_may_round_the_other_way_but_not_flip(sweep: Sweep) -> None:
    probabilities = np.full((42, 3), 0.25, dtype=np.float32)
    probabilities[:, 0] = 0.5
    base = dict(zip(map(bytes, sweep.inputs["x"]), probabilities, strict=True))

    def answer(feeds: Feeds) -> NDArray[np.float32]:
        return np.stack([base[bytes(row)] for row in feeds["x"]])

    def moved(feeds: Feeds) -> NDArray[np.float32]:
        found = answer(feeds)
        found[(feeds["x"] == sweep.inputs["x"][3]).all(axis=1)] = [0.3, 0.6, 0.1]
        return found

    one_in_ten = TREES.__class__(atol=1e-5, rtol=0.0, share=0.9)
    with pytest.raises(ParityError, match="the class changes: row 103"):
        check_parity(answer, moved, sweep, "probabilities", one_in_ten)


class Frozen(nn.Module):
    """A branch on the batch size: `torch.export` keeps the one that it traced, without an error."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > 1:
            return x @ torch.from_numpy(W)
        return x @ torch.from_numpy(W) * 0.5


def test_a_branch_on_the_batch_size_that_froze_is_caught(sweep: Sweep) -> None:
    module = Frozen().eval()
    exported = Graph(to_onnx(module, (INPUT,), "logits", 3))

    def row_by_row(feeds: Feeds) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.concatenate([module(torch.from_numpy(row[None])).numpy() for row in feeds["x"]])

    with pytest.raises(ParityError, match=r"in batches of 1 \d+ of 42 rows differ"):
        check_parity(row_by_row, exported, sweep, "logits", NETWORK)


class Fixed(nn.Module):
    """Its first dimension is a constant of the graph."""

    def forward(self, x: Tensor) -> Tensor:
        return (x @ torch.from_numpy(W)).reshape(3, 3)


def test_a_frozen_batch_dimension_does_not_get_through(sweep: Sweep) -> None:
    from exporter.errors import ConversionError

    setting = Setting((INPUT,), {}, 3, 0)
    trained = TorchMember(Fixed(), setting, "logits")
    with pytest.raises((ConversionError, ParityError)):
        check_parity(member, Graph(trained.to_onnx()), sweep, "logits", NETWORK)


def test_values_that_are_not_finite_are_caught(sweep: Sweep) -> None:
    exported = Graph(graphs.nan_above(8.0, W))

    def soft(feeds: Feeds) -> NDArray[np.float32]:
        z = member(feeds)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        found: NDArray[np.float32] = e / e.sum(axis=1, keepdims=True)
        return found

    with pytest.raises(ParityError, match="values that are not finite: edge row 1"):
        check_parity(soft, exported, sweep, "probabilities", NETWORK)


def test_a_graph_that_answers_differently_each_time_is_caught(sweep: Sweep) -> None:
    calls = iter(range(1000))

    def restless(feeds: Feeds) -> NDArray[np.float32]:
        return member(feeds) + np.float32(1e-7 * next(calls))

    with pytest.raises(ParityError, match="two runs of the same rows give different bits"):
        check_parity(member, restless, sweep, "logits", NETWORK)


def test_another_width_is_caught(sweep: Sweep) -> None:
    with pytest.raises(ParityError, match=r"the graph gives \[42, 2\], the member \[42, 3\]"):
        check_parity(member, graph(W[:, :2]), sweep, "logits", NETWORK)


@pytest.mark.parametrize("scale", [1e5, 1e9])
def test_trees_of_large_values_are_held_to_their_own_scale(sweep: Sweep, scale: float) -> None:
    def answer(feeds: Feeds) -> NDArray[np.float32]:
        return (member(feeds)[:, :1] * scale).astype(np.float32)

    def by(share: float) -> Answer:
        return lambda feeds: np.asarray(answer(feeds) * (1 + share * np.sign(np.sin(feeds["x"][:, :1] * 1e3))), "f4")

    fitted = replace(sweep, target=answer(sweep.inputs)[: len(sweep.target), 0].astype(np.float64))
    assert check_parity(answer, by(5e-7), fitted, "value", TREES).rows == 42
    with pytest.raises(ParityError, match=r"rows differ, by up to "):
        check_parity(answer, by(1e-3), fitted, "value", TREES)
