"""Weights averaged on their way, and the statistics of batch normalisation that belong to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from exporter.optimisation.loop import Exchange, Loop
from exporter.optimisation.run import Run, seeded
from exporter.optimisation.state import State, digest_of, state_of
from tests.exporter.parameters.problems import clouds, network, problem_of


class Watching(Exchange):
    """Remembers the weights after each step and each epoch."""

    def __init__(self) -> None:
        self.steps: list[State] = []
        self.epochs: list[State] = []

    def step(self, loop: Loop) -> None:
        super().step(loop)
        self.steps.append(state_of(loop.problem.module))

    def epoch_done(self, loop: Loop) -> None:
        self.epochs.append(state_of(loop.problem.module))


def trained(**spec: Any) -> tuple[State, Watching]:
    """What is kept, and the way there."""
    watching = Watching()
    run = Run(exchange=watching)
    with seeded(1):
        run.solve(problem_of(network(), **spec))
    return run.kept[0], watching


def mean(states: list[State], name: str) -> Tensor:
    return torch.stack([state[name] for state in states]).mean(dim=0)


def test_swa_is_the_mean_of_the_ends_of_epochs_from_where_it_begins() -> None:
    kept, way = trained(epochs=4, average="swa", average_from=0.5)
    torch.testing.assert_close(kept["0.weight"], mean(way.epochs[2:], "0.weight"))


def test_ema_is_the_exponential_mean_of_the_steps() -> None:
    kept, way = trained(epochs=5, average="ema", average_decay=0.3, average_from=0.0)
    found = way.steps[0]["4.weight"]
    for count, state in enumerate(way.steps[1:], 1):
        decay = min(0.3, (1 + count) / (10 + count))
        found = decay * found + (1 - decay) * state["4.weight"]
    torch.testing.assert_close(kept["4.weight"], found)


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_averaging_changes_nothing_of_the_way(average: str) -> None:
    _, plain = trained()
    _, way = trained(average=average)
    assert digest_of(plain.steps) == digest_of(way.steps)


def test_without_an_average_the_last_weights_are_kept_as_they_are() -> None:
    kept, way = trained()
    assert digest_of([kept]) == digest_of([way.epochs[-1]])


def test_statistics_are_those_of_the_averaged_weights() -> None:
    kept, _ = trained(average="swa")
    points, _ = clouds()
    inputs = points @ kept["0.weight"].T + kept["0.bias"]
    torch.testing.assert_close(kept["1.running_mean"], inputs.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_a_training_that_goes_on_has_the_same_average() -> None:
    problem = problem_of(network(), average="swa", average_from=0.0)
    loop = Loop(problem, Exchange(), lambda *_: None)
    loop.average.epoch_done(0)  # type: ignore[union-attr]
    snapshot = loop.state()
    again = Loop(problem_of(network(seed=9), average="swa", average_from=0.0), Exchange(), lambda *_: None)
    again.restore(snapshot)
    again.average.into_module()  # type: ignore[union-attr]
    assert torch.equal(state_of(again.problem.module)["0.weight"], state_of(problem.module)["0.weight"])
