"""Small convolutional networks."""

from __future__ import annotations

from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.families.cnn import Cnn
from exporter.images.networks.pixels import Frame, Pixels, frame_of
from exporter.images.networks.trunk import Trunk, TrunkClassifier
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import train_classifier


class ConvolutionalNetwork(nn.Module):
    """Image → logits [n, C]."""

    def __init__(self, frame: Frame, columns: int, width: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Pixels(frame),
            *convolution(frame.channels, width),
            *convolution(width, width),
            nn.MaxPool2d(2),
            *convolution(width, 2 * width),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(2 * width * (frame.height // 4) * (frame.width // 4), columns)
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(image))
        return logits


class TwoLayerNetwork(nn.Module):
    """Image → logits [n, C]: two convolutions and a linear layer."""

    def __init__(self, frame: Frame, columns: int, width: int, dropout: float) -> None:
        super().__init__()
        stride = -(-max(frame.height, frame.width) // _SIDE)
        kernel = max(5, stride | 1)
        self.features = nn.Sequential(
            Pixels(frame),
            nn.Conv2d(frame.channels, width, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten(),
        )
        places = _left(frame.height, stride) * _left(frame.width, stride)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width * places, columns))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(image))
        return logits


_SIDE = 16
"""Of what the first convolution makes of an image of any size."""


def _left(side: int, stride: int) -> int:
    """What the two layers leave of a side: the stride's share, half of it by pooling, half by the second stride."""
    pooled = -(-side // stride) // 2
    return -(-pooled // 2)


def convolution(channels: int, width: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A 3 × 3 convolution that keeps the size, batch normalisation, ReLU."""
    return nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()


def train_cnn(spec: Cnn, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError where the images are too small for the structure."""
    frame, columns, structure = frame_of(setting), setting.columns, spec.structure

    def network() -> nn.Module:
        if structure == "two_layer":
            return TwoLayerNetwork(frame, columns, spec.width, spec.dropout)
        if structure == "shallow":
            return ConvolutionalNetwork(frame, columns, spec.width, spec.dropout)
        return TrunkClassifier(Trunk(structure, frame, rows, spec.width), columns, spec.dropout)

    return train_classifier(network, rows, setting, spec.training)
