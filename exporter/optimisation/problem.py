"""What a network's trainer wants solved: its module, its batches, its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.optimisation.spec import Optimisation

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Problem:
    """A module and what it is trained by. Who trains it, alone or with others, is the ambient run's matter.

    A batch is row numbers first (int64, of `rows`), then tensors (`prepare`: gathered, distorted; what producers do
    where there are any), then a loss.
    """

    module: nn.Module
    """On its device, with the weights that it begins with; trained in place."""
    rows: int
    """That the trainer was given: what row numbers count, the same for every member of an ensemble."""
    epoch: Callable[[torch.Generator], Iterable[Tensor]]
    """Row numbers of one epoch's batches, drawn as they are taken; of all rows, or of those that the network takes."""
    prepare: Callable[[Tensor, torch.Generator], Batch]
    """Row numbers → the batch's tensors, distorted by the generator."""
    loss: Callable[[nn.Module, Batch], Tensor]
    """Mean over the batch's rows. The network is given, for it may be wrapped: call it, and only it."""
    steps: int
    """Of all epochs: what the learning rate's cycle is planned for. A training that ends sooner cuts it off."""
    spec: Optimisation
    generator: torch.Generator
    """Of order and distortion; dropout draws from torch's own."""
    optimiser: Callable[[nn.Module], torch.optim.Optimizer] | None = None
    """Where parameters have options of their own (`optimiser_of`); None: the module's, as the spec says."""
    most_gradient: float | None = None
    """Gradients are cut to this norm."""
    logits: Callable[[nn.Module, Batch], Tensor] | None = None
    """Logits [n, C] of a batch whose last tensor is the classes int64 [n]: what training jointly with others takes. The
    network gives them as they are, and the loss calls it once. None: the module gives something else."""
    value: Callable[[nn.Module, Batch], Tensor] | None = None
    """Values [n] or [n, 1] of a batch whose last tensor is the targets [n], in their unit; None: no regression."""
    plain: Callable[[Tensor], Batch] | None = None
    """As `prepare`, but nothing is distorted or drawn: what figures on rows that no step sees are taken on."""
