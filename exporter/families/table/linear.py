"""Logistic and ridge regression on scaled numbers, their bins, and one-hot categories."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Family, Rate, Setting, Trained


class Linear(Family, frozen=True, kw_only=True, tag="linear"):
    """Of classes and labels: logistic regression; of a value: ridge regression. Features and weights are one graph."""

    bins: Annotated[int, Meta(ge=1)] = 16
    """Pieces that a number's effect is put together from."""
    strength: Rate = 1.0
    """Of the data against the penalty: scikit-learn's C; for a value 1 / alpha."""

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits, or with a value. Raises TrainingError where it does not converge."""
        from exporter.families.table.linear_member import train_linear
        from exporter.families.table.words import train_on_words

        return train_on_words(lambda placed, inner: train_linear(self, placed, inner), rows, setting)
