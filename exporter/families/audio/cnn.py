"""Convolutional networks on log-mel pictures of sound."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.audio.spec import AudioTraining, sample_rate
from exporter.families.base import Count, Family, Setting, Share, Trained


class SoundCnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """Log-mel frames stretched to one duration, then three convolutions and one linear layer."""

    width: Count = 20
    """Channels of the first convolution; the others have twice and four times as many."""
    steps: Count = 48
    """Frames that every clip is stretched to; at least 8."""
    dropout: Share = 0.3
    training: AudioTraining = AudioTraining(learning_rate=4e-3)

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits. Raises TrainingError."""
        from exporter.families.audio.network import train_clip_classifier
        from exporter.networks.audio.cnn import MelNetwork

        rate = sample_rate(setting)
        build = lambda: MelNetwork(rate, setting.columns, self.width, self.steps, self.dropout)  # noqa: E731
        return train_clip_classifier(build, rows, setting, self.training)
