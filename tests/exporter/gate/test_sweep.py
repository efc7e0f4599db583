"""Lengths, padding and edge rows of the parity gate: what freezes or hangs on padding does not get through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Dataset, Rows, TokenizerFile
from exporter.errors import ParityError
from exporter.gate.inference import Graph
from exporter.gate.parity import check_parity
from exporter.gate.sweep import MOST_OTHER, Sweep
from exporter.members.base import NETWORK
from model_repo import Input, TextInput, Tokenizer

pytestmark = pytest.mark.timeout(300)  # the first conversion imports torch and its exporter

IDS = Input(name="ids", datatype="INT64", shape=(-1, -1))
TOKENS = 6
ENTRY = Tokenizer(name="ids", file="tokenizers/ids.json", sha256="0" * 64, bytes=2, input="text", max_tokens=TOKENS)


def texts(rows: int = 40) -> Dataset:
    """Texts of two to five tokens, whose ids the server makes, filled up with zeros."""
    rng = np.random.default_rng(5)
    ids = rng.integers(2, 9, (rows, 5))
    ids[np.arange(5)[None] >= rng.integers(2, 6, (rows, 1))] = 0
    strings = np.array(["…"] * rows, dtype=np.object_)
    return Dataset(
        rows=Rows.of({"text": strings, "ids": ids}, (ids.sum(axis=1) % 2).astype(np.int64)),
        classes=("a", "b"),
        inputs=(Input(name="text", datatype="BYTES", shape=(-1,), text=TextInput()),),
        derived=(IDS,),
        tokenizers=(TokenizerFile(ENTRY, b"{}"),),
    )


class Masked(nn.Module):
    """The mean of the embeddings of what is no padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table = nn.Embedding(16, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids != 0).float()[..., None]
        pooled = (self.table(ids) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        found: Tensor = self.head(pooled)
        return found


class Unmasked(Masked):
    """The mean of everything: more padding, another answer."""

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.head(self.table(ids).mean(dim=1))
        return found


class Branching(Masked):
    """A branch on the length, which the export freezes as it was traced."""

    def forward(self, ids: Tensor) -> Tensor:
        found = super().forward(ids)
        return found * 0.5 if ids.shape[1] < 4 else found


class Long(Masked):
    """Takes two tokens at least."""

    def forward(self, ids: Tensor) -> Tensor:
        if ids.shape[1] < 2:
            raise ValueError("needs two tokens")
        return super().forward(ids)


def gate(module: nn.Module, dataset: Dataset) -> tuple[str, ...]:
    """The forms in which the exported module passed."""
    graph = Graph(to_onnx(module.eval(), (IDS,), "logits", 2))

    def predict(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        with torch.no_grad():
            found: NDArray[np.float32] = module(torch.from_numpy(inputs["ids"])).numpy()
        return found

    sweep = Sweep.of(dataset.rows, dataset, graph.inputs)
    return check_parity(predict, graph, sweep, "logits", NETWORK).forms


def test_a_member_that_masks_padding_passes_in_every_form() -> None:
    assert gate(Masked(), texts()) == (
        "filled up to the longest row of each batch", "cut to length 1", "filled up to the greatest length",
    )  # fmt: skip


def test_a_member_whose_answer_hangs_on_padding_is_caught() -> None:
    with pytest.raises(ParityError, match=r"in batches of 1, filled up to the longest row of each batch \d+ of 42"):
        gate(Unmasked(), texts())


def test_a_branch_on_the_length_that_froze_is_caught() -> None:
    with pytest.raises(ParityError, match=r"in batches of 1, cut to length 1 \d+ of 35 rows differ"):
        sweep_without_padding(Branching())


def sweep_without_padding(module: nn.Module) -> None:
    """The gate for ids that clients send themselves."""
    made = texts()
    rows = Rows.of({"ids": made.rows.inputs["ids"]}, made.rows.target)
    dataset = Dataset(rows, ("a", "b"), (IDS,), edges={"ids": np.zeros((2, 5), dtype=np.int64)})
    gate(module, dataset)


def test_a_member_that_cannot_take_one_token_is_told_so() -> None:
    with pytest.raises(ParityError, match="the member itself fails on rows cut to length 1: needs two tokens"):
        sweep_without_padding(Long())


def test_edge_rows_are_made_where_the_data_has_none() -> None:
    dataset = texts()
    sweep = Sweep.of(dataset.rows, dataset)
    assert sweep.names[-2:] == ["edge row of zeros", "edge row of unknown tokens"]
    assert sweep.inputs["ids"][-2:].tolist() == [[0] * 5, [1] * 5]
    assert sweep.inputs["text"][-2:].tolist() == ["", ""]


def test_a_value_that_may_be_missing_is_missing_in_an_edge_row() -> None:
    x = np.ones((5, 3), dtype=np.float32)
    dataset = Dataset(
        rows=Rows.of({"x": x}, np.zeros(5, dtype=np.float32)),
        classes=(),
        inputs=(Input(name="x", datatype="FP32", shape=(-1, 3)),),
        ranges={"x": (1.0, 2.0)},
        task="regression",
        may_miss=frozenset({"x"}),
    )
    sweep = Sweep.of(dataset.rows, dataset)
    assert sweep.names[-2:] == ["edge row of zeros", "edge row of missing values"]
    assert sweep.inputs["x"][-2].tolist() == [1.0] * 3  # the nearest to 0 that is in range
    assert np.isnan(sweep.inputs["x"][-1]).all()


def test_lengths_are_those_that_the_tokenizer_declares_and_only_some_rows_take_them() -> None:
    dataset = texts(100)
    forms = {form.where: form for form in Sweep.of(dataset.rows, dataset).forms()}
    assert forms[""].inputs["ids"].shape == (102, 5)
    assert forms["cut to length 1"].inputs["ids"].shape == (MOST_OTHER + 2, 1)
    assert forms["filled up to the greatest length"].inputs["ids"].shape == (MOST_OTHER + 2, TOKENS)
    short = [part["ids"].shape[1] for part in forms["filled up to the longest row of each batch"].batches(1)]
    assert short[:100] == (dataset.rows.inputs["ids"] != 0).sum(axis=1).tolist()
    assert short[100:] == [1, 5]


def test_windows_are_cut_and_filled_in_both_lengths() -> None:
    ids = np.zeros((3, 2, 4), dtype=np.int64)
    ids[:, 0, :2] = 5
    ids[2, 1, 0] = 5
    entry = Tokenizer(name="ids", file="t.json", sha256="0" * 64, bytes=2, input="text", max_tokens=4, stride=3,
                      max_windows=5)  # fmt: skip
    made = texts(3)
    dataset = Dataset(
        rows=Rows.of({"text": made.rows.inputs["text"], "ids": ids}, np.array([0, 1, 0])),
        classes=("a", "b"),
        inputs=made.inputs,
        derived=(Input(name="ids", datatype="INT64", shape=(-1, -1, -1)),),
        tokenizers=(TokenizerFile(entry, b"{}"),),
    )
    forms = {form.where: form for form in Sweep.of(dataset.rows, dataset).forms()}
    assert forms["cut to length 1"].inputs["ids"].shape == (5, 1, 1)
    assert forms["filled up to the greatest length"].inputs["ids"].shape == (5, 5, 4)
    shapes = [part["ids"].shape for part in forms["filled up to the longest row of each batch"].batches(1)]
    assert shapes == [(1, 1, 2), (1, 1, 2), (1, 2, 2), (1, 1, 1), (1, 2, 4)]
