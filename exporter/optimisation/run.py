"""What surrounds a member's training: who else trains it, who is told of it, what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import nn

from exporter.optimisation.arithmetic import Arithmetic
from exporter.optimisation.checkpoints import Checkpoints
from exporter.optimisation.curve import Curve, Point
from exporter.optimisation.loop import Exchange, Loop
from exporter.optimisation.problem import Problem
from exporter.optimisation.state import Begun, State, digest_of, state_of, take_over
from exporter.optimisation.statistics import renew_statistics


@dataclass(frozen=True)
class EpochDone:
    """One epoch of one network."""

    network: int
    """Of the networks that the member trains one after another, from 0."""
    epoch: int
    epochs: int
    loss: float
    """Of the last batch."""


@dataclass(frozen=True)
class StepsDone(EpochDone):
    """Some steps of an epoch that goes on: `epoch` are those done before, `loss` is the mean since the point before."""

    point: Point


def _nobody(done: EpochDone) -> None:
    """Is told nothing."""


def _nothing_kept(network: int) -> Checkpoints | None:
    """Of no network."""


@dataclass
class Run:
    """One member's training. A trainer may solve several problems in it, one after another."""

    exchange: Exchange = field(default_factory=Exchange)
    observe: Callable[[EpochDone], None] = _nobody
    checkpoints: Callable[[int], Checkpoints | None] = _nothing_kept
    """Of the network of that number, from 0."""
    start: Sequence[State] = ()
    """Of each network, in order: what it begins with where names and shapes fit."""
    trains: bool = True
    """False: `start` is what is kept; nothing is computed but the statistics of batch normalisation."""
    kept: list[State] = field(default_factory=list)
    """Of each network that was trained, in order: its parameters and buffers, on the CPU."""
    begun: list[Begun] = field(default_factory=list)
    """Of each, what its training began with."""
    curves: list[Curve] = field(default_factory=list)
    """Of each that steps were taken for, what was measured on the way."""
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def solve(self, problem: Problem) -> None:
        """Train the problem's module, and keep what it came to. Raises TrainingError."""
        self.begun.append(self._begin(problem.module))
        if self.trains:
            self.train(problem)
        else:
            renew_statistics(problem, problem.generator.initial_seed())
        self.kept.append(state_of(problem.module))

    def _begin(self, module: nn.Module) -> Begun:
        place = len(self.kept)
        if place < len(self.start):
            return take_over(module, self.start[place])
        return Begun(start=digest_of([state_of(module)]))

    def train(self, problem: Problem) -> None:
        """By a loop of its own; members that train jointly have another way."""
        loop = Loop(problem, self.exchange, self.told, self.checkpoints(len(self.kept)), self.arithmetic, self._seen)
        loop.solve()
        self.curves.append(loop.watch.curve())

    def told(self, loop: Loop, loss: float) -> None:
        """Pass on that an epoch is done."""
        self.observe(EpochDone(len(self.kept), loop.epoch, loop.problem.spec.epochs, loss))

    def _seen(self, loop: Loop, point: Point) -> None:
        if loop.problem.spec.report_every:
            self.observe(StepsDone(len(self.kept), loop.epoch, loop.problem.spec.epochs, point.loss, point))


_RUN: ContextVar[Run] = ContextVar("run")


def current() -> Run:
    """The run that this thread trains in; one alone, where nobody began one."""
    return _RUN.get(None) or Run()


@contextmanager
def training_in(run: Run) -> Iterator[Run]:
    """Whatever is trained inside is trained in this run."""
    token = _RUN.set(run)
    try:
        yield run
    finally:
        _RUN.reset(token)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialisation and dropout from `seed`; torch's global generators are as before afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def optimise(problem: Problem) -> nn.Module:
    """The problem's module, trained in place as the ambient run says, and set to evaluation.

    Raises TrainingError where the loss is not finite.
    """
    current().solve(problem)
    return problem.module.eval()
