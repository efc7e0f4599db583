"""Multilayer perceptrons on tables, with embeddings of the categories."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.members.base import Family, Training
from exporter.optimisation.spec import Count, Share


class Mlp(Family, frozen=True, kw_only=True, tag="mlp"):
    """Numbers scaled and in bins, an embedding of each category, two hidden layers; of classes, labels or a value."""

    trainer: ClassVar[str] = "exporter.tables.networks.perceptron:train_mlp"

    bins: Annotated[int, Meta(ge=1)] = 32
    """Pieces of each number's range."""
    width: Count = 8
    """Numbers of an embedding."""
    hidden: Count = 128
    dropout: Share = 0.3
    forget: Share = 0.02
    """Share of the categories that are taken for unknown in training."""
    training: Training = Training(epochs=10, batch_rows=256, learning_rate=2e-3, weight_decay=0.1)
