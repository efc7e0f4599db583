"""One convolutional trunk and several heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.families.groups import MultiHead
from exporter.images.networks.cnn import ConvolutionalNetwork
from exporter.images.networks.groups.member import train_group
from exporter.images.networks.pixels import Frame, frame_of
from exporter.members.base import Group, Setting


class TrunkWithHeads(nn.Module):
    """Image → logits [members, n, C]."""

    def __init__(self, frame: Frame, columns: int, members: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.trunk = ConvolutionalNetwork(frame, columns, width, dropout).features
        features = 2 * width * (frame.height // 4) * (frame.width // 4)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Dropout(dropout), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, columns))
            for _ in range(members)
        )

    def forward(self, image: Tensor) -> Tensor:
        features = self.trunk(image)
        return torch.stack([head(features) for head in self.heads])


def train_multi_head(spec: MultiHead, rows: Rows, setting: Setting) -> Group:
    """The heads, with logits."""
    frame = frame_of(setting)
    return train_group(
        lambda: TrunkWithHeads(frame, setting.columns, spec.members, spec.width, spec.hidden, spec.dropout),
        rows, setting, spec.training, spec.members,
    )  # fmt: skip
