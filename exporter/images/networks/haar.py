"""The 2-D Haar transform as one grouped convolution per level, and a perceptron on its coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.images.families.wavelet import Wavelet
from exporter.images.networks.energies import HaarEnergies
from exporter.images.networks.pixels import Frame, Pixels, frame_of, sampled_planes
from exporter.members.base import Setting, Trained
from exporter.members.feature_trees import FeatureTrees
from exporter.members.torch_member import train_classifier

_FLOOR = 0.05
"""Added to each coefficient's standard deviation: a border pixel that is always blank stays small."""
_TYPICAL = 0.3
"""Taken from the magnitudes, so that they are about centred."""

# Approximation, then horizontal, vertical and diagonal detail: the order and signs of pywt.dwt2.
_FILTERS = ((1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))


class Haar(nn.Module):
    """[n, c, h, w] → all coefficients [n, c · h · w]: approximation of the last level, details of each level.

    Within a level the three detail bands follow each other channel by channel; h and w must be multiples of
    2 ** levels.
    """

    filters: Tensor

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.channels, self.levels = channels, levels
        bank = torch.tensor(_FILTERS, dtype=torch.float32).reshape(4, 1, 2, 2) / 2
        self.register_buffer("filters", bank.repeat(channels, 1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        details: list[Tensor] = []
        approximation = image
        for _ in range(self.levels):
            bands = nn.functional.conv2d(approximation, self.filters, stride=2, groups=self.channels)
            bands = bands.reshape(-1, self.channels, 4, *bands.shape[2:])
            details.append(bands[:, :, 1:].flatten(1))
            approximation = bands[:, :, 0]
        return torch.cat([approximation.flatten(1), *reversed(details)], dim=1)


@dataclass(frozen=True)
class Scale:
    """Mean and (floored) standard deviation of each coefficient over the fit rows, [coefficients]."""

    mean: Tensor
    deviation: Tensor


def coefficient_scale(frame: Frame, rows: Rows, levels: int) -> Scale:
    """The scale of the rows' coefficients. Raises TrainingError when the image cannot be halved so often."""
    if frame.height % 2**levels or frame.width % 2**levels:
        raise TrainingError(f"levels is {levels}, an image of {frame.width} × {frame.height} cannot be halved so often")
    with torch.no_grad():
        found = Haar(frame.channels, levels)(sampled_planes(frame, rows))
    return Scale(found.mean(dim=0), found.std(dim=0) + _FLOOR)


class WaveletNetwork(nn.Module):
    """Image → logits [n, C]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, frame: Frame, scale: Scale, columns: int, levels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.transform = nn.Sequential(Pixels(frame), Haar(frame.channels, levels))
        self.register_buffer("mean", scale.mean)
        self.register_buffer("deviation", scale.deviation)
        self.head = nn.Sequential(
            nn.Linear(2 * len(scale.mean), hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, columns),
        )

    def forward(self, image: Tensor) -> Tensor:
        found = self.transform(image)
        signed = (found - self.mean) / self.deviation
        logits: Tensor = self.head(torch.cat([signed, found.abs() - _TYPICAL], dim=1))
        return logits


def train_wavelet(spec: Wavelet, rows: Rows, setting: Setting) -> Trained:
    """A member with logits, or of trees with probabilities.

    Raises TrainingError when the image cannot be halved `levels` times.
    """
    return _perceptron(spec, rows, setting) if spec.head == "perceptron" else _trees(spec, rows, setting)


def _perceptron(spec: Wavelet, rows: Rows, setting: Setting) -> Trained:
    frame = frame_of(setting)
    scale = coefficient_scale(frame, rows, spec.levels)
    build = lambda: WaveletNetwork(frame, scale, setting.columns, spec.levels, spec.hidden, spec.dropout)  # noqa: E731
    return train_classifier(build, rows, setting, spec.training)


def _trees(spec: Wavelet, rows: Rows, setting: Setting) -> Trained:
    from lightgbm import LGBMClassifier

    frame, boosting = frame_of(setting), spec.boosting
    trees = LGBMClassifier(
        n_estimators=boosting.rounds, num_leaves=boosting.leaves, learning_rate=boosting.learning_rate,
        colsample_bytree=boosting.feature_share, subsample=0.7, subsample_freq=1, max_bin=63,
        n_jobs=1, random_state=setting.seed, deterministic=True, force_row_wise=True, verbose=-1,
    )  # fmt: skip
    return FeatureTrees(HaarEnergies(frame, spec.levels), trees, setting, (frame.name,)).fit(rows)
