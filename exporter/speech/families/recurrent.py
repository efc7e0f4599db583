"""Recurrent networks on log-mel frames."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Share
from exporter.speech.families.spec import AudioTraining


class SoundGru(Family, frozen=True, kw_only=True, tag="gru"):
    """A GRU in each direction over the frames as they follow each other, pooled by maximum and mean."""

    trainer: ClassVar[str] = "exporter.speech.networks.recurrent:train_gru"

    hidden: Count = 64
    """Units per direction."""
    dropout: Share = 0.3
    training: AudioTraining = AudioTraining(learning_rate=5e-3)
