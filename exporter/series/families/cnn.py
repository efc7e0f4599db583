"""Temporal convolutional networks on windows of series."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Family, Training
from exporter.optimisation.spec import Count, Share


class Cnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """Dilated convolutions over the moves of a window, trained for the absolute error."""

    trainer: ClassVar[str] = "exporter.series.networks.convolution:train_cnn"

    series: Literal["all", "target"] = "target"
    """What it looks at: every series of the window, or the predicted one alone."""
    width: Count = 24
    layers: Count = 4
    """The last one of four looks 31 steps around."""
    dropout: Share = 0.2
    training: Training = Training(epochs=4, batch_rows=64, learning_rate=3e-3, weight_decay=0.05)
