"""Federated averaging: rows stay with their worker, weights are averaged by the sizes of the shards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from exporter.errors import RecipeError, TrainingError
from exporter.optimisation.exchanges.federated import FederatedExchange, shards_of
from exporter.optimisation.loop import Exchange, Exchanged, Loop
from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.spec import Federated
from exporter.recipe.recipe import parse_recipe
from tests.exporter.optimisation.problems import ROWS, network, problem, rows


@dataclass
class Alone:
    """What a worker calls of the others, who are not there: what it would have told is kept."""

    rank: int
    workers: int
    exchanged: Exchanged = field(default_factory=Exchanged)
    told: list[Tensor] = field(default_factory=list)

    def spread(self, tensors: list[Tensor]) -> None:
        """Nothing comes."""

    def sum(self, tensor: Tensor) -> None:
        """Only its own part."""
        self.told.append(tensor.clone())


def with_rows_as_batches(made: Problem) -> Problem:
    """Batches of the row numbers themselves."""

    def prepare(index: Tensor, generator: torch.Generator) -> Batch:
        return index, index

    return replace(made, prepare=prepare)


def exchange(rank: int, workers: int, **asked: Any) -> FederatedExchange:
    return FederatedExchange(Alone(rank, workers), Federated(workers=workers, **asked))  # type: ignore[arg-type]


@pytest.mark.parametrize("shards", ["random", "by_class"])
def test_every_row_is_in_one_shard(shards: str) -> None:
    found = shards_of(problem(network()), shards, 3)
    assert sorted(torch.cat(found).tolist()) == list(range(ROWS))
    assert [len(shard) for shard in found] == [14, 13, 13]


def test_shards_by_class_are_neighbours_in_the_order_of_the_classes() -> None:
    _, target = rows()
    classes = [target[shard] for shard in shards_of(problem(network()), "by_class", 3)]
    assert int(classes[0].max()) <= int(classes[1].min())
    assert int(classes[1].max()) <= int(classes[2].min())


def test_a_worker_takes_rows_of_its_shard_alone() -> None:
    seen = []
    for rank in range(3):
        made = with_rows_as_batches(problem(network()))
        worker = exchange(rank, 3, period=1000)
        loop = Loop(made, Exchange(), lambda *_: None)
        worker.begin(loop)
        taken = {int(row) for _ in range(3) for batch in worker.batches(loop) for row in batch[0]}
        assert taken <= set(shards_of(made, "random", 3)[rank].tolist())
        seen.append(taken)
    assert not seen[0] & seen[1]
    assert not seen[1] & seen[2]
    assert set().union(*seen) == set(range(ROWS))


def test_weights_are_told_by_the_size_of_the_shard() -> None:
    worker = exchange(0, 3)
    worker.begin(Loop(problem(network()), Exchange(), lambda *_: None))
    flat = torch.ones(4)
    worker.mean(flat)
    assert flat.tolist() == pytest.approx([14 / 40] * 4)


def test_a_shard_needs_two_rows() -> None:
    with pytest.raises(TrainingError, match="a shard of 40 rows for 30 workers has"):
        exchange(29, 30).begin(Loop(problem(network()), Exchange(), lambda *_: None))


def test_shards_by_class_need_classes() -> None:
    with pytest.raises(TrainingError, match="the member has no classes to go by"):
        shards_of(replace(problem(network()), logits=None), "by_class", 2)


def test_a_recipe_says_whose_rows_are_whose() -> None:
    text = b'name = "f"\ntask = "classification"\n[data]\nsource = "digits"\n[members.a]\nfamily = "pca"\n[training]\n'
    recipe = parse_recipe(text + b'mode = "federated"\nworkers = 3\nshards = "by_class"\n', "f")
    assert recipe.training == Federated(workers=3, shards="by_class")
    with pytest.raises(RecipeError, match=r"training.shards: expected one of by_class, random"):
        parse_recipe(text + b'mode = "federated"\nshards = "by_row"\n', "f")
