"""Figures on the way of a training, and trainings that end when they are good enough."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.members.base import Training
from exporter.members.torch_member import cross_entropy, squared_error
from exporter.members.training_loop import fit
from exporter.optimisation.loop import Exchange
from exporter.optimisation.run import EpochDone, Run, StepsDone, seeded, training_in
from exporter.optimisation.spec import Target

ROWS = 400
"""Of one training here."""
EASY = Training(epochs=30, batch_rows=20, learning_rate=0.05, stop_at=Target(accuracy=0.9))


class Rowwise(nn.Module):
    """A linear layer on all but the last column, the row's number; it keeps which rows it saw in training."""

    def __init__(self, columns: int = 2) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(4, columns), set[int]()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen |= set(x[:, 4].int().tolist())
        found: Tensor = self.layer(x[:, :4])
        return found


def trained(training: Training, run: Run | None = None, noise: float = 0.0) -> tuple[Rowwise, Run]:
    """Two classes that a line tells apart, but for a share `noise` of the rows."""
    drawing = torch.Generator().manual_seed(3)
    x = torch.randn(ROWS, 4, generator=drawing)
    y = ((x.sum(dim=1) > 0) ^ (torch.rand(ROWS, generator=drawing) < noise)).long()
    x = torch.cat([x, torch.arange(ROWS)[:, None]], dim=1)
    with training_in(run or Run()) as run, seeded(0):
        module = Rowwise()
        fit(module, [x], y, training, cross_entropy, 0, answer="logits")
    return module, run


def test_a_training_ends_when_the_figure_is_reached_on_rows_that_no_step_saw() -> None:
    module, run = trained(EASY)
    (curve,) = run.curves
    assert curve.reached
    assert curve.points[-1].validation["accuracy"] >= 0.9
    assert all(point.validation["accuracy"] < 0.9 for point in curve.points[:-1])
    assert curve.points[-1].epoch < 30
    assert (curve.rows, curve.held_out, len(module.seen)) == (400, 40, 360)
    assert curve.summary().startswith("stop_at accuracy 0.9 reached after")
    assert "on 40 of its 400 rows, which no step saw" in curve.summary()


def test_a_figure_that_is_never_reached_costs_all_epochs_and_is_told() -> None:
    _, run = trained(Training(epochs=4, batch_rows=20, stop_at=Target(accuracy=0.999)), noise=0.3)
    (curve,) = run.curves
    assert [point.epoch for point in curve.points] == [1, 2, 3, 4]
    assert not curve.reached
    assert "stop_at accuracy 0.999 not reached in 4 epochs: accuracy 0." in curve.summary()


def test_without_a_figure_to_reach_all_rows_are_trained_on() -> None:
    module, run = trained(Training(epochs=1, batch_rows=20))
    assert len(module.seen) == ROWS
    assert (run.curves[0].held_out, run.curves[0].summary()) == (0, "")


def test_figures_come_every_so_many_steps_and_at_the_end_of_each_epoch() -> None:
    told: list[EpochDone] = []
    _, run = trained(Training(epochs=2, batch_rows=20, report_every=8), Run(observe=told.append))
    points = run.curves[0].points
    assert [point.step for point in points] == [8, 16, 20, 24, 32, 40]
    assert [point.epoch for point in points] == [0.4, 0.8, 1, 1.2, 1.6, 2]
    assert points[-1].accuracy is not None
    assert points[-1].accuracy > 0.7
    assert [type(done) for done in told].count(StepsDone) == len(points)
    assert [done.epoch for done in told if not isinstance(done, StepsDone)] == [1, 2]


def test_a_training_may_end_in_the_middle_of_an_epoch() -> None:
    _, run = trained(Training(epochs=30, batch_rows=20, learning_rate=0.05, report_every=3, stop_at=EASY.stop_at))
    assert run.curves[0].reached
    last = run.curves[0].points[-1]
    assert last.step % 3 == 0
    assert last.epoch % 1


def test_watching_changes_no_weight() -> None:
    plain, _ = trained(Training(epochs=2, batch_rows=20))
    watched, _ = trained(Training(epochs=2, batch_rows=20, report_every=1))
    assert torch.equal(plain.layer.weight, watched.layer.weight)


def test_a_regression_ends_at_an_error_in_the_unit_of_its_target() -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    training = Training(epochs=60, batch_rows=20, learning_rate=0.1, stop_at=Target(rmse=1.0))
    with training_in(Run()) as run, seeded(0):
        fit(nn.Linear(3, 1), [x], 10 * x[:, 0], training, squared_error, 0, answer="value")
    assert run.curves[0].reached
    assert run.curves[0].points[-1].validation["rmse"] <= 1
    assert run.curves[0].points[0].validation["rmse"] > 3


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (Target(rmse=1.0), "stop_at has rmse, this training has accuracy and log_loss"),
        (Target(), "stop_at has no figure, this training has accuracy and log_loss"),
    ],
)
def test_a_figure_that_the_training_does_not_have_is_refused(target: Target, told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        trained(Training(stop_at=target))


def test_all_workers_end_together() -> None:
    class Others(Exchange):
        """Further workers who are not there yet until the third word."""

        asked = 0

        def ends(self, wish: bool) -> bool:
            self.asked += 1
            return wish and self.asked >= 12

    _, run = trained(EASY, Run(exchange=Others()))
    assert run.curves[0].points[-1].epoch == 12


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
def test_every_optimiser_learns_under_every_schedule(
    optimiser: Literal["adamw", "adam", "sgd"], schedule: Literal["one_cycle", "constant"]
) -> None:
    _, run = trained(Training(epochs=5, batch_rows=20, learning_rate=0.05, optimiser=optimiser, schedule=schedule))
    last = run.curves[0].points[-1]
    assert last.accuracy is not None
    assert last.accuracy > 0.9


def test_the_momentum_of_sgd_is_the_one_that_was_written() -> None:
    weights = [
        trained(Training(epochs=1, batch_rows=20, optimiser="sgd", momentum=momentum))[0].layer.weight
        for momentum in (0.0, 0.9)
    ]
    assert not torch.equal(*weights)
