"""One of the networks that train jointly: its batches, its answers, its steps."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import msgspec
import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.optimisation.joint.randomness import Randomness
from exporter.optimisation.loop import Exchange, Loop
from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.run import Run
from exporter.optimisation.statistics import renew_statistics


class Participant:
    """A problem with an optimiser, a learning rate cycle and a randomness of its own."""

    def __init__(self, problem: Problem, randomness: Randomness, run: Run) -> None:
        """`run` is told of epochs, and says how steps are computed. Raises TrainingError where that scales losses."""
        self.loop = Loop(problem, Exchange(), run.told, arithmetic=run.arithmetic)
        if self.loop.steps.scaler is not None:
            raise TrainingError(
                "precision fp16 scales the loss of each network by itself, joint training has one loss for all; "
                "expected bf16 or float32"
            )
        self._told = run.told
        self._randomness = randomness
        self._heard = _Heard(run.arithmetic.network(problem.module))
        self._last: tuple[Tensor, Batch] | None = None
        self.loop.watch.listen(self._heard)
        problem.module.train()

    @property
    def problem(self) -> Problem:
        """What it trains on."""
        return self.loop.problem

    def batch(self, index: Tensor) -> Batch:
        """Its own tensors of the rows."""
        return self.problem.prepare(index, self.problem.generator)

    def answer(self, batch: Batch, *, alone: bool) -> tuple[Tensor, Tensor]:
        """Its own loss of a batch, and its log-probabilities [n, C]; `alone`: no other draws at the same time."""
        with self._randomness.here() if alone else nullcontext(), self.loop.steps.forward():
            loss = self.problem.loss(self._heard, batch)
        self._last = loss.detach(), batch
        return loss, torch.log_softmax(self._heard.answer.float(), dim=1)

    def descend(self) -> None:
        """One step along the gradients that are there, which are then gone."""
        self.loop.descend()
        self.loop.optimiser.zero_grad()
        if self.loop.average is not None:
            self.loop.average.step(self.loop.epoch)
        if self._last is not None:
            self.loop.watch.stepped(*self._last)

    def epoch_done(self, loss: float) -> None:
        """Count it, and tell."""
        if self.loop.average is not None:
            self.loop.average.epoch_done(self.loop.epoch)
        self.loop.epoch += 1
        if self.loop.watch.pending:
            self.loop.watch.point(self.loop.epoch)
        self._told(self.loop, loss)

    def end(self) -> None:
        """After the last epoch: the averaged weights, where the family has them averaged."""
        if self.loop.average is not None:
            self.loop.average.into_module()
            renew_statistics(self.problem, self.problem.generator.initial_seed())


class _Heard(nn.Module):
    """A network whose last answer is kept: the loss and the others need it, one forward gives it."""

    answer: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        self.answer = self.network(*inputs)
        return self.answer


def planned(problem: Problem, epochs: int, batches: int) -> Problem:
    """The problem with its learning rate cycle over so many epochs of so many batches."""
    spec = msgspec.structs.replace(problem.spec, epochs=epochs)
    return replace(problem, spec=spec, steps=epochs * batches)


def require_finite(losses: dict[str, float], epoch: int) -> None:
    """Raise TrainingError naming the members whose own loss is not finite."""
    wild = {name: value for name, value in losses.items() if not abs(value) < float("inf")}
    if wild:
        told = ", ".join(f"{value} of member {name!r}" for name, value in wild.items())
        raise TrainingError(f"the loss is {told} in epoch {epoch + 1} of joint training")
