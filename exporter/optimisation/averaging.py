"""The mean of a network's weights over its way: exponential (EMA), or of the ends of epochs (SWA)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from exporter.optimisation.spec import Optimisation
from exporter.optimisation.state import State


class Average:
    """A running mean of a module's parameters. Buffers are not averaged: statistics are computed anew at the end."""

    def __init__(self, module: nn.Module, spec: Optimisation) -> None:
        self._module, self._spec = module, spec
        self._mean: State = {}
        self._count = 0

    def step(self, epoch: int) -> None:
        """After a step in the epoch of this number, from 0."""
        if self._spec.average == "ema" and self._begun(epoch):
            # The decay grows up to its own: the first weights would weigh for hundreds of steps otherwise.
            self._add(min(self._spec.average_decay, (1 + self._count) / (10 + self._count)))

    def epoch_done(self, epoch: int) -> None:
        """After the epoch of this number, from 0."""
        if self._spec.average == "swa" and self._begun(epoch):
            self._add(self._count / (self._count + 1))

    def _begun(self, epoch: int) -> bool:
        return epoch >= int(self._spec.average_from * self._spec.epochs)

    @torch.no_grad()
    def _add(self, decay: float) -> None:
        for name, entry in self._module.named_parameters():
            if name in self._mean:
                self._mean[name].lerp_(entry.detach(), 1 - decay)
            else:
                self._mean[name] = entry.detach().clone()
        self._count += 1

    @torch.no_grad()
    def into_module(self) -> None:
        """The module's parameters become the mean; they stay where it had not begun."""
        for name, entry in self._module.named_parameters():
            if name in self._mean:
                entry.copy_(self._mean[name])

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"mean": self._mean, "count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        own = dict(self._module.named_parameters())
        self._mean = {name: entry.to(own[name].device) for name, entry in state["mean"].items()}
        self._count = int(state["count"])
