"""Members that share every weight but two vectors a layer (Wen, Tran and Ba 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.families.groups import BatchEnsemble
from exporter.images.networks.groups.member import train_group
from exporter.images.networks.pixels import Frame, Pixels, frame_of
from exporter.members.base import Group, Setting


class FactoredConvolution(nn.Module):
    """[members · n, channels, h, w] → [members · n, width, h, w]: one convolution between the members' factors."""

    def __init__(self, members: int, channels: int, width: int) -> None:
        super().__init__()
        self.members = members
        self.convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.before = nn.Parameter(_signs(members, channels)[:, None, :, None, None])
        self.behind = nn.Parameter(_signs(members, width)[:, None, :, None, None])
        self.norm = nn.BatchNorm2d(width)

    def forward(self, planes: Tensor) -> Tensor:
        scaled = (torch.unflatten(planes, 0, (self.members, -1)) * self.before).flatten(0, 1)
        found = (torch.unflatten(self.convolution(scaled), 0, (self.members, -1)) * self.behind).flatten(0, 1)
        return nn.functional.relu(self.norm(found))


class FactoredLinear(nn.Module):
    """[members · n, features] → [members, n, columns], in the same way."""

    def __init__(self, members: int, features: int, columns: int) -> None:
        super().__init__()
        self.members = members
        self.linear = nn.Linear(features, columns, bias=False)
        self.before = nn.Parameter(_signs(members, features)[:, None, :])
        self.behind = nn.Parameter(_signs(members, columns)[:, None, :])
        self.bias = nn.Parameter(torch.zeros(members, 1, columns))

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.linear(torch.unflatten(features, 0, (self.members, -1)) * self.before)
        return found * self.behind + self.bias


class BatchEnsembleNetwork(nn.Module):
    """Image → logits [members, n, C]: the structure of the shallow convolutional network."""

    def __init__(self, frame: Frame, columns: int, members: int, width: int, dropout: float) -> None:
        super().__init__()
        self.members = members
        self.pixels = Pixels(frame)
        self.layers = nn.Sequential(
            FactoredConvolution(members, frame.channels, width),
            FactoredConvolution(members, width, width),
            nn.MaxPool2d(2),
            FactoredConvolution(members, width, 2 * width),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.head = FactoredLinear(members, 2 * width * (frame.height // 4) * (frame.width // 4), columns)

    def forward(self, image: Tensor) -> Tensor:
        planes = self.pixels(image)
        logits: Tensor = self.head(self.layers(planes.repeat(self.members, 1, 1, 1)))
        return logits


def _signs(members: int, size: int) -> Tensor:
    """Random signs: what makes members differ from the beginning (the paper's choice)."""
    return torch.randint(0, 2, (members, size)).to(torch.float32) * 2.0 - 1.0


def train_batch_ensemble(spec: BatchEnsemble, rows: Rows, setting: Setting) -> Group:
    """The members, with logits."""
    frame = frame_of(setting)
    return train_group(
        lambda: BatchEnsembleNetwork(frame, setting.columns, spec.members, spec.width, spec.dropout),
        rows, setting, spec.training, spec.members,
    )  # fmt: skip
