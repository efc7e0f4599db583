"""Recurrent networks on windows of series."""

from __future__ import annotations

from typing import Literal

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Setting, Share, Trained, Training


class Gru(Family, frozen=True, kw_only=True, tag="gru"):
    """A GRU over patches of the moves of a window, trained for the absolute error."""

    series: Literal["all", "target"] = "target"
    """What it looks at: every series of the window, or the predicted one alone."""
    patch: Count = 4
    """Steps that enter the GRU together; a divisor of the window."""
    hidden: Count = 32
    dropout: Share = 0.2
    training: Training = Training(epochs=6, batch_rows=64, learning_rate=3e-3, weight_decay=0.05)

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with a value. Raises TrainingError, also where `patch` does not divide the window."""
        from exporter.families.torch_member import absolute_error, train_regressor
        from exporter.networks.series.level import Levelled, Moves
        from exporter.networks.series.recurrent import PatchGru

        def build() -> Levelled:
            moves = Moves(rows, setting, self.series)
            body = PatchGru(moves, patch=self.patch, hidden=self.hidden, dropout=self.dropout)
            return Levelled(rows, setting, moves, body)

        return train_regressor(build, rows, setting, self.training, absolute_error)
