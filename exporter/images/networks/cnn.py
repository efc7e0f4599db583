"""A small convolutional network."""

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


def convolution(channels: int, width: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A 3 × 3 convolution that keeps the size, batch normalisation, ReLU."""
    return nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()


def train_cnn(spec: Cnn, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError where the images are too small for the structure."""
    frame, columns, structure = frame_of(setting), setting.columns, spec.structure

    def network() -> ConvolutionalNetwork | TrunkClassifier:
        if structure == "shallow":
            return ConvolutionalNetwork(frame, columns, spec.width, spec.dropout)
        return TrunkClassifier(Trunk(structure, frame, rows, spec.width), columns, spec.dropout)

    return train_classifier(network, rows, setting, spec.training)
