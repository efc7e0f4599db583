"""Recurrent networks that read an image row by row."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Setting, Share, Trained, Training

# Measured on the digits: the CNN's stronger distortions cost the recurrent members 2 points of accuracy.
_MILD = Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1)


class _Recurrent(Family, frozen=True, kw_only=True):
    hidden: Count = 40
    """Units per direction."""
    dropout: Share = 0.3
    training: Training = Training(epochs=25, learning_rate=0.01, augmentation=_MILD)

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits."""
        from exporter.networks.image.pixels import frame_of
        from exporter.networks.image.recurrent import RowReader
        from exporter.networks.torch_member import train_classifier

        frame = frame_of(setting)
        cell = str(self.__struct_config__.tag)
        build = lambda: RowReader(frame, setting.columns, cell, self.hidden, self.dropout)  # noqa: E731
        return train_classifier(build, rows, setting, self.training)


class Gru(_Recurrent, frozen=True, kw_only=True, tag="gru"):
    """A bidirectional GRU over the rows of the image, pooled by its maximum and its last state."""


class Lstm(_Recurrent, frozen=True, kw_only=True, tag="lstm"):
    """The same with LSTM cells."""
