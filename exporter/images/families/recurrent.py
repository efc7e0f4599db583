"""Recurrent networks that read an image row by row."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, Share

# Measured on the digits: the CNN's stronger distortions cost the recurrent members 2 points of accuracy.
_MILD = Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1)


class _Recurrent(Family, frozen=True, kw_only=True):
    trainer: ClassVar[str] = "exporter.images.networks.recurrent:train_recurrent"

    hidden: Count = 40
    """Units per direction."""
    dropout: Share = 0.3
    training: Training = Training(epochs=25, learning_rate=0.01, augmentation=_MILD)


class Gru(_Recurrent, frozen=True, kw_only=True, tag="gru"):
    """A bidirectional GRU over the rows of the image, pooled by its maximum and its last state."""


class Lstm(_Recurrent, frozen=True, kw_only=True, tag="lstm"):
    """The same with LSTM cells."""
