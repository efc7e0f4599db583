"""The graph of every member for nodes: known nodes have their answers stored, new ones are computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Near(nn.Module):
    """Numbers of neighbours int64 [n, S] → places [n, S] and float32 [n, S], 1 for a known node and 0 for padding."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.nodes = nodes

    def forward(self, neighbours: Tensor) -> tuple[Tensor, Tensor]:
        known = (neighbours >= 0) & (neighbours < self.nodes)
        return torch.where(known, neighbours, 0), known.float()


class NodeAnswers(nn.Module):
    """features [n, F], neighbours [n, S], node [n] → [n, C].

    A node of the known graph gets the answer that the member gives it with all of its neighbours and theirs, from
    the table; what the request says of it beside its number is not looked at. Any other node is a new one:
    `newcomer` answers from its features and its neighbours.
    """

    answers: Tensor

    def __init__(self, answers: Tensor, newcomer: nn.Module) -> None:
        super().__init__()
        self.register_buffer("answers", answers.detach().float().contiguous())
        self.near = Near(len(answers))
        self.newcomer = newcomer

    def forward(self, features: Tensor, neighbours: Tensor, node: Tensor) -> Tensor:
        nodes = self.answers.shape[0]
        known = (node >= 0) & (node < nodes)
        stored = self.answers[torch.where(known, node, 0)]
        place, weight = self.near(neighbours)
        total = features.abs().sum(dim=1, keepdim=True).clamp(min=1.0)
        return torch.where(known[:, None], stored, self.newcomer(features / total, place, weight))


def gathered(table: Tensor, place: Tensor, weight: Tensor) -> Tensor:
    """Σ_s weight[n, s] · table[place[n, s]], [n, D]."""
    return (weight[:, :, None] * table[place]).sum(dim=1)


def averages(weight: Tensor) -> Tensor:
    """The weights [n, S] divided by their sum; 0 where there is none."""
    return weight / weight.sum(dim=1, keepdim=True).clamp(min=1.0)
