"""Autoencoders: how far features are from what is told again of them."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.detectors.autoencoder import Autoencoder
from exporter.detectors.networks.components import Features
from exporter.detectors.networks.training import train_detector
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import train_regressor


class Reconstruction(nn.Module):
    """Tensors → mean squared error [n, 1] of the features told again from `code` numbers."""

    def __init__(self, rows: Rows, setting: Setting, hidden: int, code: int) -> None:
        super().__init__()
        self.features = Features(rows, setting)
        sizes = [self.features.width, hidden, code, hidden, self.features.width]
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise(sizes)):
            layers += [nn.Linear(before, after), *([] if place in (1, 3) else [nn.GELU()])]
        self.coder = nn.Sequential(*layers)

    def forward(self, *tensors: Tensor) -> Tensor:
        features = self.features(*tensors)
        error = self.coder(features) - features
        score: Tensor = (error * error).mean(dim=1, keepdim=True)
        return score


def train_autoencoder(spec: Autoencoder, rows: Rows, setting: Setting) -> Trained:
    """A detector. Raises TrainingError."""

    def trained(placed: Rows, own: Setting) -> Trained:
        takes = [entry.name for entry in own.inputs]
        build = lambda: Reconstruction(placed, own, spec.hidden, spec.code)  # noqa: E731
        return train_regressor(build, placed, own, spec.training, lambda score, _: score.mean(), takes)

    return train_detector(trained, rows, setting)
