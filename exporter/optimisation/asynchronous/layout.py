"""A network's parameters as one vector, and which server has which part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from exporter.optimisation.asynchronous.shard import Floats, Piece, Plan
from exporter.optimisation.loop import Loop


@dataclass(frozen=True)
class _Slice:
    """The part [start, stop) of the parameter of that number."""

    parameter: int
    start: int
    stop: int


class Layout:
    """Of `servers` shards about as long; those of the parameters that a loop's optimiser moves."""

    def __init__(self, loop: Loop, servers: int) -> None:
        groups = loop.optimiser.param_groups
        self._parameters: list[nn.Parameter] = [entry for group in groups for entry in group["params"]]
        self._group = [place for place, group in enumerate(groups) for _ in group["params"]]
        total = sum(entry.numel() for entry in self._parameters)
        bounds = [total * place // servers for place in range(servers + 1)]
        self._shards = [self._slices(start, stop) for start, stop in pairwise(bounds)]
        self.plan = Plan(
            kind=type(loop.optimiser),
            groups=[{key: value for key, value in group.items() if key != "params"} for group in groups],
            spec=loop.problem.spec,
            steps=loop.problem.steps,
        )

    def pieces(self) -> list[list[Piece]]:
        """Of each shard."""
        return [
            [Piece(part.stop - part.start, self._group[part.parameter]) for part in shard] for shard in self._shards
        ]

    def weights(self) -> list[Floats]:
        """A copy of each shard's."""
        return [self._flat(shard, [entry.detach() for entry in self._parameters]) for shard in self._shards]

    def gradients(self) -> list[tuple[Floats, list[int]]]:
        """Each shard's, and the pieces that have none (zeros stand there)."""
        grads = [torch.zeros_like(entry) if entry.grad is None else entry.grad for entry in self._parameters]
        return [
            (
                self._flat(shard, grads),
                [place for place, part in enumerate(shard) if self._parameters[part.parameter].grad is None],
            )
            for shard in self._shards
        ]

    @torch.no_grad()
    def put(self, shards: Sequence[Floats]) -> None:
        """The parameters become what the servers have."""
        for slices, values in zip(self._shards, shards, strict=True):
            place = 0
            flat = torch.from_numpy(np.array(values))
            for part in slices:
                length = part.stop - part.start
                own = self._parameters[part.parameter].view(-1)
                own[part.start : part.stop] = flat[place : place + length].to(own.device)
                place += length

    def _slices(self, start: int, stop: int) -> list[_Slice]:
        found, begin = [], 0
        for number, entry in enumerate(self._parameters):
            end = begin + entry.numel()
            if begin < stop and end > start:
                found.append(_Slice(number, max(start, begin) - begin, min(stop, end) - begin))
            begin = end
        return found

    @staticmethod
    def _flat(shard: list[_Slice], tensors: Sequence[torch.Tensor]) -> Floats:
        parts = [tensors[part.parameter].reshape(-1)[part.start : part.stop].float().cpu() for part in shard]
        found: Floats = torch.cat([torch.zeros(0), *parts]).numpy()
        return found
