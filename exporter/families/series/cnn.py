"""Temporal convolutional networks on windows of series."""

from __future__ import annotations

from typing import Literal

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Setting, Share, Trained, Training


class Cnn(Family, frozen=True, kw_only=True, tag="cnn"):
    """Dilated convolutions over the moves of a window, trained for the absolute error."""

    series: Literal["all", "target"] = "target"
    """What it looks at: every series of the window, or the predicted one alone."""
    width: Count = 24
    layers: Count = 4
    """The last one of four looks 31 steps around."""
    dropout: Share = 0.2
    training: Training = Training(epochs=4, batch_rows=64, learning_rate=3e-3, weight_decay=0.05)

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with a value. Raises TrainingError."""
        from exporter.families.torch_member import absolute_error, train_regressor
        from exporter.networks.series.convolution import TemporalCnn
        from exporter.networks.series.level import Levelled, Moves

        def build() -> Levelled:
            moves = Moves(rows, setting, self.series)
            body = TemporalCnn(moves, width=self.width, layers=self.layers, dropout=self.dropout)
            return Levelled(rows, setting, moves, body)

        return train_regressor(build, rows, setting, self.training, absolute_error)
