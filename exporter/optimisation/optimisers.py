"""The optimiser and the learning rate's way that a training table names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from exporter.optimisation.spec import Optimisation

_WARM_UP = 0.2
"""Share of the steps in which the learning rate rises."""
_FEWEST = 6
"""Steps that the cycle is planned for at least: of five the rise is one, and torch divides by its length less one."""

Groups = Iterable[nn.Parameter] | list[dict[str, Any]]
"""Parameters, or groups of them with options of their own, as torch's optimisers take them."""


def optimiser_of(spec: Optimisation, parameters: Groups) -> torch.optim.Optimizer:
    """Weight decay by the spec, where a group says no other."""
    if spec.optimiser == "sgd":
        return torch.optim.SGD(parameters, spec.learning_rate, momentum=spec.momentum, weight_decay=spec.weight_decay)
    kind = torch.optim.AdamW if spec.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, spec.learning_rate, weight_decay=spec.weight_decay)


def schedule_of(
    spec: Optimisation, optimiser: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """One cycle over `steps` steps (Smith and Topin 2018), or None: the rate stays.

    Adam's first moment goes the other way, as torch does it; SGD's momentum stays as it is written.
    """
    if spec.schedule == "constant":
        return None
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, spec.learning_rate, total_steps=max(steps, _FEWEST), pct_start=_WARM_UP,
        cycle_momentum=spec.optimiser != "sgd",
    )  # fmt: skip
