"""A convolutional network on the log-mel picture of a clip, stretched to one duration."""

from __future__ import annotations

from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.speech.families.cnn import SoundCnn
from exporter.speech.families.spec import sample_rate
from exporter.speech.networks.masking import Masking
from exporter.speech.networks.mel import BANDS, LogMel
from exporter.speech.networks.member import train_clip_classifier
from exporter.speech.networks.timing import Stretched


class MelNetwork(nn.Module):
    """Samples [n, T] → logits [n, C]: stretched frames [n, 1, steps, bands], three convolutions, one linear layer."""

    def __init__(self, sample_rate: int, columns: int, width: int, steps: int, dropout: float) -> None:
        super().__init__()
        self.mel = LogMel(sample_rate)
        self.masking = Masking(bands=8, share=0.2)
        self.stretched = Stretched(steps)
        first = nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False)  # on all frames and bands it is what costs
        self.layers = nn.Sequential(
            first, nn.BatchNorm2d(width), nn.ReLU(),
            *_block(width, 2 * width), *_block(2 * width, 4 * width), nn.Flatten(),
            nn.Dropout(dropout), nn.Linear(4 * width * (steps // 8) * (BANDS // 8), columns),
        )  # fmt: skip

    def forward(self, audio: Tensor) -> Tensor:
        frames, length = self.mel(audio)
        picture = self.stretched(self.masking(frames, length), length)
        logits: Tensor = self.layers(picture[:, None])
        return logits


def _block(given: int, made: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(given, made, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(made), nn.ReLU(), nn.MaxPool2d(2)


def train_cnn(spec: SoundCnn, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError."""
    rate = sample_rate(setting)
    build = lambda: MelNetwork(rate, setting.columns, spec.width, spec.steps, spec.dropout)  # noqa: E731
    return train_clip_classifier(build, rows, setting, spec.training)
