"""Convolutional networks on log-mel pictures of sound."""

from __future__ import annotations

from typing import ClassVar

from exporter.families.audio.spec import AudioTraining
from exporter.families.base import Count, Family, Share


class SoundCnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """Log-mel frames stretched to one duration, then three convolutions and one linear layer."""

    trainer: ClassVar[str] = "exporter.networks.audio.cnn:train_cnn"

    width: Count = 20
    """Channels of the first convolution; the others have twice and four times as many."""
    steps: Count = 48
    """Frames that every clip is stretched to; at least 8."""
    dropout: Share = 0.3
    training: AudioTraining = AudioTraining(learning_rate=4e-3)
