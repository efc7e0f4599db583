"""The training loop of networks on one whole graph: every step sees all nodes, the loss those with labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.graphs.families.training import NodeTraining


def fit_nodes(
    module: nn.Module,
    first: list[nn.Parameter],
    forward: Callable[[], Tensor],
    labelled: tuple[NDArray[Any], NDArray[Any]],
    training: NodeTraining,
) -> Tensor:
    """The logits [N, C] of the trained module; weight decay is of the parameters in `first` alone.

    Adam at one rate, as Kipf and Welling (2017) train. Raises TrainingError where the loss is not finite.
    """
    node, target = (torch.from_numpy(part) for part in labelled)
    others = [entry for entry in module.parameters() if all(entry is not one for one in first)]
    groups: list[dict[str, Any]] = [{"params": first, "weight_decay": training.weight_decay}, {"params": others}]
    optimiser = torch.optim.Adam(groups, lr=training.learning_rate)
    module.train()
    for epoch in range(training.epochs):
        loss = nn.functional.cross_entropy(forward()[node], target)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} in epoch {epoch + 1} of {training.epochs}")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    module.eval()
    with torch.no_grad():
        return forward()
