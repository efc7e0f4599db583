"""Workers that train one network by torch.distributed: two real processes beside one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.optimisation.exchanges.by_technique import exchange_for
from exporter.optimisation.exchanges.company import Company
from exporter.optimisation.exchanges.gang import Gang
from exporter.optimisation.loop import Exchanged, Loop
from exporter.optimisation.run import optimise, seeded
from exporter.optimisation.spec import DataParallel
from tests.exporter.optimisation import ranks
from tests.exporter.optimisation.problems import SIZES, accuracy, network, problem

STEPS = 3 * len(SIZES)
PARAMETERS = sum(entry.numel() for entry in network().parameters())


Ranks = list[Any]


@pytest.fixture(scope="module")
def gang(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ranks]:
    """What two processes came to, by scenario and rank."""
    return ranks.run(tmp_path_factory.mktemp("gang"))


@pytest.fixture(scope="module")
def two(gang: dict[str, Ranks]) -> Ranks:
    """Of training that nothing disturbs."""
    return gang["training"]


def alone(*, double: bool) -> tuple[Tensor, nn.Module]:
    """Gradients before each step, and the network, of one process."""
    module = network().double() if double else network()
    gradients: list[Tensor] = []

    def seen(_: object) -> None:
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).float())

    with seeded(0):
        optimise(problem(module, seen))
    return torch.stack(gradients), module


@pytest.mark.parametrize(("name", "double"), [("data_parallel", True), ("in float32", False)])
def test_gradients_and_weights_of_two_processes_equal_those_of_one(two: Ranks, name: str, double: bool) -> None:
    gradients, module = alone(double=double)
    assert len(gradients) == STEPS >= 20
    for found in (rank[name] for rank in two):
        assert torch.allclose(found["gradients"], gradients, rtol=0, atol=1e-5)
        for key, entry in module.state_dict().items():
            assert torch.allclose(found["state"][key], entry, rtol=0, atol=1e-5), key


@pytest.mark.parametrize(
    "name", ["with dropout", "data_parallel", "period 1", "period 5", "diloco", "seldom", "federated"]
)
def test_all_workers_end_with_the_same_network(two: Ranks, name: str) -> None:
    first, second = (rank[name] for rank in two)
    for key, entry in first["state"].items():
        assert torch.equal(entry, second["state"][key]), key
    assert first["losses"] == second["losses"]
    assert first["after"] == second["after"], "torch's generators differ"
    assert first["plain"], "layers are left as they were while training"


@pytest.mark.parametrize("name", ["data_parallel", "local_sgd"])
def test_training_goes_on_from_the_last_epoch_that_all_kept(two: Ranks, name: str) -> None:
    for rank in two:
        whole, continued = rank[f"{name} in two goes"]["whole"], rank[f"{name} in two goes"]["continued"]
        assert continued["losses"] == whole["losses"][1:]
        for key, entry in whole["state"].items():
            assert torch.equal(entry, continued["state"][key]), key


@pytest.mark.parametrize("name", ["until a figure", "until a figure, apart"])
def test_all_workers_end_where_all_have_reached_a_figure(two: Ranks, name: str) -> None:
    first, second = (rank[name] for rank in two)
    assert first["losses"] == second["losses"]
    assert 0 < len(first["losses"]) < 20
    assert torch.equal(first["state"]["5.weight"], second["state"]["5.weight"])


def test_workers_draw_dropout_apart(two: Ranks) -> None:
    plain, dropped = two[0]["in float32"], two[0]["with dropout"]
    assert not torch.equal(plain["gradients"], dropped["gradients"])


@pytest.mark.parametrize("name", ["period 1", "period 5", "diloco", "seldom", "federated", "federated by class"])
def test_workers_that_meet_now_and_then_learn(two: Ranks, name: str) -> None:
    module = network()
    before = accuracy(module)
    module.load_state_dict(two[0][name]["state"])
    assert accuracy(module) > before + 0.2


def test_what_is_exchanged_is_counted(two: Ranks) -> None:
    found = {name: (entry["synchronisations"], entry["bytes"]) for name, entry in two[0].items() if "bytes" in entry}
    assert found["in float32"][0] == STEPS
    assert found["in float32"][1] >= STEPS * PARAMETERS * 4
    assert found["period 1"][0] == STEPS
    assert found["period 5"][0] == 5
    assert found["seldom"][0] == 1
    assert found["period 1"][1] > 10 * found["seldom"][1] / 3
    assert found["period 5"][1] < found["in float32"][1] / 3


@pytest.mark.parametrize("name", ["data_parallel", "local_sgd"])
def test_a_loss_that_is_not_finite_with_one_stops_all(gang: dict[str, Ranks], name: str) -> None:
    for rank in gang["not finite"]:
        assert rank[name]["said"] == "the loss is nan after epoch 1 of 3"


def test_a_worker_that_is_silent_is_waited_for_no_longer_than_told(gang: dict[str, Ranks]) -> None:
    first = gang["stalling"][0]
    assert first["said"].startswith("worker 1 of 2 lost another, which died or was silent for 2 s: ")
    assert first["seconds"] < 5


def test_a_worker_that_dies_is_told_by_the_others_at_once(gang: dict[str, Ranks]) -> None:
    first, second = gang["dying"]
    assert second is None
    assert first["said"].startswith("worker 1 of 2 lost another, which died or was silent for 120 s: ")
    assert "\n" not in first["said"]
    assert first["seconds"] < 20


def test_more_workers_than_rows_are_refused() -> None:
    found = problem(network())
    many = Company(Gang(0, 41, None, None, 1.0, Exchanged()))  # type: ignore[arg-type]  # refused before it asks
    with pytest.raises(TrainingError, match=r"^41 workers for 40 rows, expected a row for each: fewer workers$"):
        many.begin(Loop(found, many, lambda *_: None))


def test_an_exchange_without_a_process_group_is_a_bug() -> None:
    with pytest.raises(TrainingError, match="no process group is initialised"):
        exchange_for(DataParallel())
