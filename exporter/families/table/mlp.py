"""Multilayer perceptrons on tables, with embeddings of the categories."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Setting, Share, Trained, Training


class Mlp(Family, frozen=True, kw_only=True, tag="mlp"):
    """Numbers scaled and in bins, an embedding of each category, two hidden layers; of classes, labels or a value."""

    bins: Annotated[int, Meta(ge=1)] = 32
    """Pieces of each number's range."""
    width: Count = 8
    """Numbers of an embedding."""
    hidden: Count = 128
    dropout: Share = 0.3
    forget: Share = 0.02
    """Share of the categories that are taken for unknown in training."""
    training: Training = Training(epochs=10, batch_rows=256, learning_rate=2e-3, weight_decay=0.1)

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits, or with a value. Raises TrainingError."""
        from exporter.families.table.words import train_on_words
        from exporter.networks.table.perceptron import Perceptron
        from exporter.networks.torch_member import squared_error, train_classifier, train_regressor

        def trained(placed: Rows, inner: Setting) -> Trained:
            takes = [entry.name for entry in inner.inputs]
            build = lambda: Perceptron(  # noqa: E731
                placed, inner, bins=self.bins, width=self.width, hidden=self.hidden, dropout=self.dropout,
                forget=self.forget,
            )  # fmt: skip
            if inner.task == "regression":
                return train_regressor(build, placed, inner, self.training, squared_error, takes)
            return train_classifier(build, placed, inner, self.training, takes)

        return train_on_words(trained, rows, setting)
