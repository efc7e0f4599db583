"""Recurrent networks on windows of series."""

from __future__ import annotations

from typing import ClassVar, Literal

from exporter.members.base import Family, Training
from exporter.optimisation.spec import Count, Share


class Gru(Family, frozen=True, kw_only=True, tag="gru"):
    """A GRU over patches of the moves of a window, trained for the absolute error."""

    trainer: ClassVar[str] = "exporter.series.networks.recurrent:train_gru"

    series: Literal["all", "target"] = "target"
    """What it looks at: every series of the window, or the predicted one alone."""
    patch: Count = 4
    """Steps that enter the GRU together; a divisor of the window."""
    hidden: Count = 32
    dropout: Share = 0.2
    training: Training = Training(epochs=6, batch_rows=64, learning_rate=3e-3, weight_decay=0.05)
