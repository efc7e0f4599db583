"""The training loop of networks on one whole graph: every step sees all nodes, the loss those with labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.graphs.families.training import NodeTraining
from exporter.optimisation.optimisers import optimiser_of
from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.run import optimise


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

    def logits(network: nn.Module, batch: Batch) -> Tensor:
        found: Tensor = network(batch[0])
        return found

    problem = Problem(
        module=_Nodes(module, forward),
        rows=len(target),
        epoch=lambda _: iter([torch.arange(len(target))]),
        prepare=lambda index, _: (node[index], target[index]),
        loss=lambda network, batch: nn.functional.cross_entropy(logits(network, batch), batch[1]),
        steps=training.epochs,
        spec=training,
        generator=torch.Generator(),
        optimiser=lambda _: optimiser_of(training, _groups(module, first, training)),
        logits=logits,
        plain=lambda index: (node[index], target[index]),
    )
    optimise(problem)
    with torch.no_grad():
        return forward()


class _Nodes(nn.Module):
    """Nodes [n] → their logits [n, C]: the whole graph is computed for them."""

    def __init__(self, module: nn.Module, whole: Callable[[], Tensor]) -> None:
        super().__init__()
        self.module, self._whole = module, whole

    def forward(self, node: Tensor) -> Tensor:
        return self._whole()[node]


def _groups(module: nn.Module, first: list[nn.Parameter], training: NodeTraining) -> list[dict[str, Any]]:
    others = [entry for entry in module.parameters() if all(entry is not one for one in first)]
    return [{"params": first, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
