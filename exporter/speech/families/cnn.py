"""Convolutional networks on log-mel pictures of sound."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Share
from exporter.speech.families.spec import AudioTraining


class SoundCnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """Log-mel frames stretched to one duration, then three convolutions and one linear layer."""

    trainer: ClassVar[str] = "exporter.speech.networks.cnn:train_cnn"

    width: Count = 20
    """Channels of the first convolution; the others have twice and four times as many."""
    steps: Count = 48
    """Frames that every clip is stretched to; at least 8."""
    dropout: Share = 0.3
    training: AudioTraining = AudioTraining(learning_rate=4e-3)
