"""Autoencoders: strange is what cannot be told again from a few numbers."""

from __future__ import annotations

from typing import ClassVar

from exporter.detectors.spec import DetectorFamily
from exporter.members.base import Training
from exporter.optimisation.spec import Count


class Autoencoder(DetectorFamily, frozen=True, kw_only=True, tag="autoencoder"):
    """Features → `hidden` → `code` numbers → `hidden` → features; the score is the mean squared error."""

    trainer: ClassVar[str] = "exporter.detectors.networks.autoencoder:train_autoencoder"

    hidden: Count = 128
    code: Count = 16
    training: Training = Training(epochs=20, batch_rows=128, learning_rate=3e-3, weight_decay=1e-4)
