"""Recurrent networks on log-mel frames."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.audio.spec import AudioTraining, sample_rate
from exporter.families.base import Count, Family, Setting, Share, Trained


class SoundGru(Family, frozen=True, kw_only=True, tag="gru"):
    """A GRU in each direction over the frames as they follow each other, pooled by maximum and mean."""

    hidden: Count = 64
    """Units per direction."""
    dropout: Share = 0.3
    training: AudioTraining = AudioTraining(learning_rate=5e-3)

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits. Raises TrainingError."""
        from exporter.families.audio.network import train_clip_classifier
        from exporter.networks.audio.recurrent import FrameReader

        rate = sample_rate(setting)
        build = lambda: FrameReader(rate, setting.columns, self.hidden, self.dropout)  # noqa: E731
        return train_clip_classifier(build, rows, setting, self.training)
