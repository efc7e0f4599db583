"""A part of one network's flattened weights, with a version, and the optimiser that moves it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.optimisation.asynchronous.leases import Batch
from exporter.optimisation.optimisers import schedule_of
from exporter.optimisation.spec import Optimisation

Verdict = Literal["taken", "known", "stale"]
"""Of a gradient: it moved the weights; it had done so before; too many others had overtaken it."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """How weights are moved: the optimiser of a worker's loop without its parameters."""

    kind: type[torch.optim.Optimizer]
    groups: Sequence[Mapping[str, Any]]
    """Options of each group of parameters."""
    spec: Optimisation
    steps: int
    """Pushes that the learning rate's cycle is planned for."""

    def optimiser(self, parts: Sequence[nn.Parameter], group: Sequence[int]) -> torch.optim.Optimizer:
        """Of `parts`, each in the group of that number."""
        chosen: list[dict[str, Any]] = [{**options, "params": []} for options in self.groups]
        for part, place in zip(parts, group, strict=True):
            chosen[place]["params"].append(part)
        found: torch.optim.Optimizer = self.kind([entry for entry in chosen if entry["params"]])  # type: ignore[call-arg]
        return found


@dataclass(frozen=True)
class Piece:
    """Of one parameter, the part in a shard."""

    length: int
    group: int


@dataclass(frozen=True)
class Pushed:
    """What becomes of a gradient."""

    verdict: Verdict
    staleness: int
    """Pushes that overtook it."""


class Shard:
    """Weights float32 [n]. One thread."""

    def __init__(
        self, weights: Floats, pieces: Sequence[Piece], plan: Plan, staleness: int, *, scale_by_staleness: bool
    ) -> None:
        """`staleness`: the most pushes that may have overtaken a gradient; see `ParameterServer` in the spec."""
        self.version = 0
        """Pushes that were taken."""
        self.applied: set[Batch] = set()
        self._staleness, self._scale = staleness, scale_by_staleness
        flat = torch.from_numpy(np.array(weights, dtype=np.float32))
        self._parts = [nn.Parameter(part) for part in torch.split(flat, [piece.length for piece in pieces])]
        self._optimiser = plan.optimiser(self._parts, [piece.group for piece in pieces])
        self._schedule = schedule_of(plan.spec, self._optimiser, plan.steps)

    def weights(self) -> Floats:
        """A copy, float32 [n]."""
        found: Floats = torch.cat([part.detach() for part in self._parts]).numpy()
        return found

    def push(self, batch: Batch, gradient: Floats, absent: Sequence[int], base: int) -> Pushed:
        """Move the weights along a gradient [n] that was taken at version `base`.

        `absent`: pieces that the batch's loss does not depend on; they stay. A base after the shard's own version is
        of weights that a restored server has forgotten, and as stale as any.
        """
        overtaken = self.version - base
        if batch in self.applied:
            return Pushed("known", overtaken)
        if not 0 <= overtaken <= self._staleness:
            return Pushed("stale", overtaken)
        self._move(torch.from_numpy(np.array(gradient)), set(absent), 1 / (1 + overtaken) if self._scale else 1.0)
        self.version += 1
        self.applied.add(batch)
        return Pushed("taken", overtaken)

    def _move(self, gradient: Tensor, absent: set[int], factor: float) -> None:
        for place, (part, own) in enumerate(
            zip(self._parts, torch.split(gradient, [len(part) for part in self._parts]), strict=True)
        ):
            part.grad = None if place in absent else own
        rates = [group["lr"] for group in self._optimiser.param_groups]
        for group in self._optimiser.param_groups:
            group["lr"] *= factor
        self._optimiser.step()
        for group, rate in zip(self._optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
        if self._schedule is not None:
            self._schedule.step()

    def state(self) -> dict[str, Any]:
        """Everything that pushes to come depend on."""
        return {
            "version": self.version,
            "applied": sorted(self.applied),
            "weights": self.weights(),
            "optimiser": copy.deepcopy(self._optimiser.state_dict()),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from it."""
        self.version = state["version"]
        self.applied = {(epoch, number) for epoch, number in state["applied"]}
        flat = torch.from_numpy(np.array(state["weights"]))
        with torch.no_grad():
            for part, kept in zip(self._parts, torch.split(flat, [len(part) for part in self._parts]), strict=True):
                part.copy_(kept)
        self._optimiser.load_state_dict(state["optimiser"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
