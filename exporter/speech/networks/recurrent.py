"""A recurrent network that reads the log-mel frames of a clip as they follow each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.speech.families.recurrent import SoundGru
from exporter.speech.families.spec import sample_rate
from exporter.speech.networks.masking import Masking
from exporter.speech.networks.mel import BANDS, LogMel, valid
from exporter.speech.networks.member import train_clip_classifier
from exporter.speech.networks.timing import BothWays, halved


class FrameReader(nn.Module):
    """Samples [n, T] → logits [n, C]: a convolution of stride 2, a GRU both ways, maximum and mean over time."""

    def __init__(self, sample_rate: int, columns: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.mel = LogMel(sample_rate)
        self.masking = Masking(bands=8, share=0.2)
        self.convolution = nn.Conv1d(BANDS, hidden, 3, stride=2, padding=1)
        self.reader = BothWays(hidden, hidden)
        self.head = nn.Sequential(nn.BatchNorm1d(4 * hidden), nn.Dropout(dropout), nn.Linear(4 * hidden, columns))

    def forward(self, audio: Tensor) -> Tensor:
        frames, length = self.mel(audio)
        steps = self.convolution(self.masking(frames, length).transpose(1, 2)).relu().transpose(1, 2)
        length = halved(length)
        states = self.reader(steps, length)
        # A state is above -1, so -2 behind the length never is the maximum.
        highest = (states - 2 * (1 - valid(length, states))[:, :, None]).amax(dim=1)
        mean = states.sum(dim=1) / length[:, None]
        logits: Tensor = self.head(torch.cat([highest, mean], dim=1))
        return logits


def train_gru(spec: SoundGru, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError."""
    rate = sample_rate(setting)
    build = lambda: FrameReader(rate, setting.columns, spec.hidden, spec.dropout)  # noqa: E731
    return train_clip_classifier(build, rows, setting, spec.training)
