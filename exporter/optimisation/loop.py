"""The training loop of every network, and what the workers of one training tell each other in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.optimisation.arithmetic import Arithmetic, Steps
from exporter.optimisation.averaging import Average
from exporter.optimisation.checkpoints import Checkpoints, Snapshot
from exporter.optimisation.curve import Point
from exporter.optimisation.optimisers import optimiser_of, schedule_of
from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.statistics import renew_statistics
from exporter.optimisation.watch import Watch, without


@dataclass
class Exchanged:
    """What one worker told the others, counted up while it trains."""

    bytes: int = 0
    """Of tensors given into collectives, or sent to and got from servers; what a network adds is not counted."""
    synchronisations: int = 0
    """Rounds in which weights or gradients went round."""

    def since(self, before: Exchanged) -> Exchanged:
        """What came after `before`."""
        return Exchanged(self.bytes - before.bytes, self.synchronisations - before.synchronisations)


class Exchange:
    """One worker alone, who tells nobody anything. Others override what they do otherwise.

    The loop calls in the order written here.
    """

    rank: int = 0
    workers: int = 1
    exchanged = Exchanged()
    """Stays at nothing where nobody is told anything; an object of its own with the others."""

    def together(self) -> AbstractContextManager[None]:
        """Around all that follows: raises TrainingError where other workers are gone."""
        return nullcontext()

    def begin(self, loop: Loop) -> None:
        """Before the first step: the same weights for all, a seed of its own for each."""

    def network(self, module: nn.Module) -> nn.Module:
        """What losses call."""
        return module

    def part(self, index: Tensor) -> Tensor:
        """This worker's row numbers of a batch's; empty where there are fewer rows than workers."""
        return index

    def batches(self, loop: Loop) -> Iterator[Batch]:
        """This worker's batches of the next epoch."""
        problem = loop.problem
        for index in problem.epoch(problem.generator):
            if len(own := self.part(index)):
                yield problem.prepare(own, problem.generator)

    def share(self, value: Tensor) -> Tensor:
        """What of a batch's loss this worker's gradient is of."""
        return value

    def step(self, loop: Loop) -> None:
        """After the gradients of a batch are there."""
        loop.descend()

    def agreed(self, loop: Loop, value: Tensor) -> Tensor:
        """After the last step of an epoch: one loss of all workers for each one's of its last batch."""
        return value

    def ends(self, wish: bool) -> bool:
        """Whether all workers end their training here, where this one wishes to (`stop_at`) or does not: the same for
        all. Asked with every point of the curve, only with `stop_at`; by all at the same steps, where they step alike.
        """
        return bool(self.least(int(wish)))

    def epoch_done(self, loop: Loop) -> None:
        """After an epoch whose loss is finite with all."""

    def end(self, loop: Loop) -> None:
        """After the last epoch: the weights that are kept, the same for all."""

    def least(self, number: int) -> int:
        """The least of what all workers say. Several that do not tell each other say 0: then nothing is kept, and a
        training that was ended begins anew."""
        return number if self.workers == 1 else 0

    def state(self) -> Snapshot:
        """What this worker carries from one epoch to the next, besides the loop's own state."""
        return {}

    def restore(self, state: Snapshot) -> None:
        """Go on from it; called after `begin` and before `network`."""


class Loop:
    """One network's way through its epochs. One thread, one seed, one result, however many train it."""

    def __init__(
        self,
        problem: Problem,
        exchange: Exchange,
        told: Callable[[Loop, float], None],
        checkpoints: Checkpoints | None = None,
        arithmetic: Arithmetic | None = None,
        seen: Callable[[Loop, Point], None] | None = None,
    ) -> None:
        """`told` is called after each epoch with the loss of its last batch, `seen` at each point of the curve.

        Raises TrainingError where the problem has no such figures as are to be reached.
        """
        self.watch = Watch(problem)
        self.problem = replace(problem, epoch=without(problem.epoch, problem.rows, self.watch.held_out))
        self.exchange, self._told, self._seen, self._checkpoints = exchange, told, seen, checkpoints
        self.network = problem.module
        self.epoch = 0
        """Epochs done; the last may have been cut off."""
        self.stopped = False
        """Whether what `stop_at` wants was reached, and all workers agreed."""
        spec = problem.spec
        self.average = Average(problem.module, spec) if spec.average else None
        self._seed = problem.generator.initial_seed()
        own = problem.optimiser
        self.optimiser = optimiser_of(spec, problem.module.parameters()) if own is None else own(problem.module)
        self.schedule = schedule_of(spec, self.optimiser, problem.steps)
        self._arithmetic = arithmetic or Arithmetic()
        self.steps = Steps(self._arithmetic, problem.module, self.optimiser)

    def solve(self) -> None:
        """All epochs that are left, or as many as `stop_at` takes.

        Raises TrainingError where the loss is not finite, or another worker is gone.
        """
        with self.exchange.together():
            self._solve()

    def _solve(self) -> None:
        problem, exchange = self.problem, self.exchange
        exchange.begin(self)
        self._go_on()
        self.network = self._arithmetic.network(exchange.network(problem.module))
        self.watch.listen(self.network)
        self.network.train()
        while self.epoch < problem.spec.epochs and not self.stopped:
            value = exchange.agreed(self, self._one_epoch())
            self.epoch += 1
            if not torch.isfinite(value):
                raise TrainingError(f"the loss is {value.item()} after epoch {self.epoch} of {problem.spec.epochs}")
            exchange.epoch_done(self)
            if self.average is not None:
                self.average.epoch_done(self.epoch - 1)
            self._keep()
            self._told(self, float(value))
        exchange.end(self)
        if self.average is not None:
            self.average.into_module()
            renew_statistics(problem, self._seed)

    def state(self) -> Snapshot:
        """Everything that the epochs to come depend on."""
        device = next(self.problem.module.parameters()).device
        return {
            "epoch": self.epoch,
            "module": self.problem.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "order": self.problem.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "average": None if self.average is None else self.average.state(),
            "watch": self.watch.state(),
            "scale": self.steps.state(),
            "stopped": self.stopped,
            "exchange": self.exchange.state(),
        }

    def restore(self, state: Snapshot) -> None:
        """Go on from a state: bitwise as if nothing had happened."""
        self.epoch = state["epoch"]
        self.problem.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.problem.generator.set_state(state["order"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], next(self.problem.module.parameters()).device)
        if self.average is not None:
            self.average.restore(state["average"])
        self.watch.restore(state["watch"])
        self.steps.restore(state["scale"])
        self.stopped = state["stopped"]
        self.exchange.restore(state["exchange"])

    def _go_on(self) -> None:
        """From the newest epoch that every worker has kept, if there is one."""
        if self._checkpoints is None:
            return
        found = self._checkpoints.found()
        epoch = self.exchange.least(max(found, default=0))
        if self.exchange.least(int(epoch in found)):
            self.restore(found[epoch])

    def _keep(self) -> None:
        """Where it is time to, by the first worker's clock; all workers, or none."""
        kept = self._checkpoints
        if kept is not None and self.exchange.least(int(self.exchange.rank > 0 or kept.due())):
            kept.keep(self.epoch, self.state())

    def _one_epoch(self) -> Tensor:
        """The last batch's loss."""
        value, first = torch.zeros(()), self.watch.steps
        for batch in self.exchange.batches(self):
            with self.steps.forward():
                value = self.problem.loss(self.network, batch)
            self.optimiser.zero_grad()
            self.steps.backward(self.exchange.share(value))
            self.exchange.step(self)
            if self.average is not None:
                self.average.step(self.epoch)
            self.watch.stepped(value, batch)
            if self.watch.due:
                self._point(self.epoch + self._share(self.watch.steps - first))
                if self.stopped:
                    return value.detach()
        if self.watch.pending:
            self._point(self.epoch + 1)
        return value.detach()

    def _share(self, steps: int) -> float:
        """Of an epoch."""
        return min(1.0, steps * self.problem.spec.epochs / max(self.problem.steps, 1))

    def _point(self, epoch: float) -> None:
        point = self.watch.point(epoch)
        if self.problem.spec.stop_at is not None:
            self.stopped = self.exchange.ends(self.watch.reached)
        if self._seen is not None:
            self._seen(self, point)

    def descend(self) -> None:
        """One step along the gradients that are there."""
        self.steps.take(self.problem.module, self.problem.most_gradient)
        if self.schedule is not None:
            self.schedule.step()
