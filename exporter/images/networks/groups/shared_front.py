"""Heads of unlike structure on one front."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.families.fronts import HeadStructure, SharedFront
from exporter.images.networks.groups.fronts import Front, front_of
from exporter.images.networks.groups.member import GroupMember, members_cross_entropy
from exporter.images.networks.pixels import frame_of
from exporter.members.base import Group, Setting
from exporter.members.torch_member import train_module
from exporter.members.training_loop import Loss
from exporter.optimisation.joint.objective import mutual_divergence

_SHARPNESS = 10.0
"""What cosines are multiplied by at first; it is learned. Logits of ±1 would leave every answer near even."""

_SHORT = 0.05
"""Of the first vectors' numbers: their length says nothing, and short ones are turned in fewer steps of Adam."""


class Cosine(nn.Module):
    """[n, features] → logits [n, C]: cosines to one learned vector a class, times a learned sharpness."""

    def __init__(self, features: int, columns: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(_SHORT * torch.randn(features, columns))
        self.sharpness = nn.Parameter(torch.tensor(_SHARPNESS))

    def forward(self, features: Tensor) -> Tensor:
        angles = nn.functional.normalize(features, dim=1) @ nn.functional.normalize(self.vectors, dim=0)
        return angles * self.sharpness


def head_of(structure: HeadStructure, features: int, hidden: int, columns: int, dropout: float) -> nn.Module:
    """[n, features] → logits [n, C]."""
    if structure == "linear":
        return nn.Linear(features, columns)
    if structure == "cosine":
        return Cosine(features, columns)
    layers: list[nn.Module] = []
    size = features
    for width in (hidden, hidden) if structure == "deep" else (hidden,):
        layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, columns))


class FrontWithHeads(nn.Module):
    """Image → logits [members, n, C]; the front is computed once."""

    def __init__(self, front: Front, heads: list[nn.Module]) -> None:
        super().__init__()
        self.front = front
        self.heads = nn.ModuleList(heads)

    def forward(self, image: Tensor) -> Tensor:
        features = self.front(image)
        return torch.stack([head(features) for head in self.heads])


def heads_loss(mutual: float) -> Loss:
    """Of logits [members, n, C]: the mean of the members' log-losses, and of how far each is from the others' mean."""
    if not mutual:
        return members_cross_entropy

    def loss(output: Tensor, target: Tensor) -> Tensor:
        apart = mutual_divergence(torch.log_softmax(output, dim=2))
        return members_cross_entropy(output, target) + mutual * apart / len(output)

    return loss


def train_shared_front(spec: SharedFront, rows: Rows, setting: Setting) -> Group:
    """The heads, with logits. Raises TrainingError where the front cannot be fitted."""
    frame = frame_of(setting)

    def build() -> nn.Module:
        front = front_of(spec, frame, rows, setting.seed)
        heads = [head_of(each, front.size, spec.hidden, setting.columns, spec.dropout) for each in spec.structures]
        return FrontWithHeads(front, heads)

    module = train_module(build, rows, setting, spec.training, heads_loss(spec.mutual))
    return GroupMember(module, setting, len(spec.structures))
