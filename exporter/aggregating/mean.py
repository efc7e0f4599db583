"""The weighted mean of networks' parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from exporter.optimisation.state import State

_LEAST = 1e-9
"""Smallest loss that a weight is made from."""

Networks = Sequence[State]
"""One member's."""


def mean_of(members: Mapping[str, Networks], weights: Mapping[str, float]) -> list[State]:
    """Each network's tensors, Σ w · tensor in float64, in their own datatype; whole numbers are the first member's.

    All members have the same structure; the weights sum to 1, and a member without one takes no part.
    """
    taken = {name: members[name] for name, weight in weights.items() if weight}
    first = next(iter(taken.values()))
    return [
        {
            name: _mean(tensor, [(taken[member][place][name], weights[member]) for member in taken])
            for name, tensor in state.items()
        }
        for place, state in enumerate(first)
    ]


def _mean(first: Tensor, weighed: Sequence[tuple[Tensor, float]]) -> Tensor:
    if not first.is_floating_point():
        return first.clone()
    total = torch.zeros_like(first, dtype=torch.float64)
    for tensor, weight in weighed:
        total += weight * tensor.double()
    return total.to(first.dtype)


def even(names: Sequence[str]) -> dict[str, float]:
    """The plain mean."""
    return dict.fromkeys(names, 1 / len(names))


def by_inverse_loss(losses: Mapping[str, float]) -> dict[str, float]:
    """Each one's weight: the inverse of its loss, as a share of all."""
    inverse = {name: 1 / max(loss, _LEAST) for name, loss in losses.items()}
    return {name: value / sum(inverse.values()) for name, value in inverse.items()}


def exponential(names: Sequence[str], decay: float) -> dict[str, float]:
    """Weights of a mean that keeps `decay` of itself with each further member, in this order."""
    found = {names[0]: 1.0}
    for name in names[1:]:
        found = {known: weight * decay for known, weight in found.items()} | {name: 1 - decay}
    return found
