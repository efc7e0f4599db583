"""Local SGD: workers take their own steps and meet now and then (Stich 2019; the outer step of DiLoCo, 2311.08105)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from exporter.optimisation.checkpoints import Snapshot
from exporter.optimisation.exchanges.company import Company
from exporter.optimisation.exchanges.gang import Gang
from exporter.optimisation.loop import Loop
from exporter.optimisation.problem import Batch
from exporter.optimisation.spec import LocalSgd

_FEWEST_ROWS = 2
"""Of a worker's part of a batch."""


class LocalSgdExchange(Company):
    """Every `period` batches all workers go to where the outer step leads from where they last met.

    The outer step is SGD with Nesterov's momentum along the mean of the workers' displacements; with rate 1 and no
    momentum it ends at the mean of their weights. Buffers are averaged. Each worker's optimiser keeps its state.
    """

    def __init__(self, gang: Gang, technique: LocalSgd) -> None:
        super().__init__(gang)
        self._technique = technique
        self._batches = 0
        self._apart = False
        """Whether steps were taken since all met."""
        self._drawing = torch.Generator()
        self._met: Tensor = torch.zeros(0)
        """Weights where all met last, float32 [parameters]."""
        self._velocity: Tensor = torch.zeros(0)

    def begin(self, loop: Loop) -> None:
        """All begin at the same weights, and draw distortions apart."""
        super().begin(loop)
        self._batches = 0
        self._drawing.manual_seed(loop.problem.generator.initial_seed() + 1 + self.rank)
        parameters = list(loop.problem.module.parameters())
        self._met = _flat(parameters, parameters[0].device)
        self._velocity = torch.zeros_like(self._met)

    def batches(self, loop: Loop) -> Iterator[Batch]:
        """This worker's part of every batch, made by it alone; all meet after every `period` batches.

        Where a part has fewer than two rows its worker takes others' of the batch, for batch normalisation has no
        deviation of one: all take as many steps.
        """
        problem = loop.problem
        for index in problem.epoch(problem.generator):
            own = self.part(index)
            self._apart = True
            yield problem.prepare(own if len(own) >= _FEWEST_ROWS else self.few(index), self._drawing)
            self._batches += 1
            if self._batches % self._technique.period == 0:
                self._meet(loop.problem.module)

    def few(self, index: Tensor) -> Tensor:
        """What this worker takes of a batch that has hardly any rows for it."""
        return index[:_FEWEST_ROWS]

    def mean(self, flat: Tensor) -> None:
        """The workers' numbers become their mean in place."""
        self.gang.sum(flat)
        flat /= self.workers

    def end(self, loop: Loop) -> None:
        """All meet for the last time; buffers that are whole numbers become the first worker's."""
        if self._apart:
            self._meet(loop.problem.module)
        self.gang.spread([entry for entry in loop.problem.module.buffers() if not entry.is_floating_point()])
        super().end(loop)

    def state(self) -> Snapshot:
        """Where all met last, how fast they went, and what this worker draws next."""
        return {
            "batches": self._batches,
            "apart": self._apart,
            "drawing": self._drawing.get_state(),
            "met": self._met,
            "velocity": self._velocity,
        }

    def restore(self, state: Snapshot) -> None:
        """Go on from it."""
        self._batches, self._apart = state["batches"], state["apart"]
        self._drawing.set_state(state["drawing"])
        device = self._met.device
        self._met, self._velocity = state["met"].to(device), state["velocity"].to(device)

    @torch.no_grad()
    def _meet(self, module: nn.Module) -> None:
        parameters, buffers = list(module.parameters()), [b for b in module.buffers() if b.is_floating_point()]
        mean = _flat([*parameters, *buffers], self._met.device)
        self.mean(mean)
        self.exchanged.synchronisations += 1
        self._apart = False
        weights, statistics = mean[: len(self._met)], mean[len(self._met) :]
        gradient = self._met - weights
        self._velocity = self._technique.outer_momentum * self._velocity + gradient
        self._met = self._met - self._technique.outer_rate * (
            gradient + self._technique.outer_momentum * self._velocity
        )
        _put(self._met, parameters)
        _put(statistics, buffers)


def _flat(tensors: list[Tensor] | list[nn.Parameter], device: torch.device) -> Tensor:
    """Everything one after another, float32; of no tensors, none."""
    return torch.cat([torch.zeros(0, device=device), *(entry.detach().float().reshape(-1) for entry in tensors)])


def _put(flat: Tensor, tensors: list[Tensor] | list[nn.Parameter]) -> None:
    """The other way round, in place."""
    parts = torch.split(flat, [entry.numel() for entry in tensors]) if tensors else ()
    for part, entry in zip(parts, tensors, strict=True):
        entry.copy_(part.view_as(entry))
