"""Autoencoders: strange is what cannot be told again from a few numbers."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.detectors.spec import DetectorFamily, train_detector
from exporter.families.base import Count, Setting, Trained, Training


class Autoencoder(DetectorFamily, frozen=True, kw_only=True, tag="autoencoder"):
    """Features → `hidden` → `code` numbers → `hidden` → features; the score is the mean squared error."""

    hidden: Count = 128
    code: Count = 16
    training: Training = Training(epochs=20, batch_rows=128, learning_rate=3e-3, weight_decay=1e-4)

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A detector. Raises TrainingError."""
        from exporter.detectors.networks import Reconstruction
        from exporter.networks.torch_member import train_regressor

        def trained(placed: Rows, own: Setting) -> Trained:
            takes = [entry.name for entry in own.inputs]
            build = lambda: Reconstruction(placed, own, self.hidden, self.code)  # noqa: E731
            return train_regressor(build, placed, own, self.training, lambda score, _: score.mean(), takes)

        return train_detector(trained, rows, setting)
