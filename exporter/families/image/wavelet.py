"""A perceptron or trees on 2-D Haar wavelet coefficients; the transform is grouped convolutions in the graph."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Rate, Setting, Share, Spec, Trained, Training


class Boosting(Spec, frozen=True, kw_only=True):
    """LightGBM's trees on wavelet features."""

    rounds: Count = 100
    """One tree per class each."""
    leaves: Annotated[int, Meta(ge=2)] = 31
    learning_rate: Rate = 0.1
    feature_share: Annotated[float, Meta(gt=0, le=1)] = 0.2
    """Features that each tree sees."""


class Wavelet(Family, frozen=True, kw_only=True, tag="wavelet"):
    """A multi-level Haar transform, and what learns from it.

    `perceptron`: every subband, signed and as magnitude, then one hidden layer; for images of few pixels.
    `trees`: energies of the subbands by place, scale and direction, and the coarsest coefficients, then LightGBM.
    """

    head: Literal["perceptron", "trees"] = "perceptron"
    levels: Count = 3
    """The sides must be multiples of 2 ** levels."""
    boosting: Boosting = Boosting()
    """Of `trees` alone; the following are of the perceptron alone."""
    hidden: Count = 96
    dropout: Share = 0.3
    training: Training = Training(
        epochs=40,
        learning_rate=0.01,
        augmentation=Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1),
    )

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits, or of trees with probabilities.

        Raises TrainingError when the image cannot be halved `levels` times.
        """
        return self._perceptron(rows, setting) if self.head == "perceptron" else self._trees(rows, setting)

    def _perceptron(self, rows: Rows, setting: Setting) -> Trained:
        from exporter.networks.image.haar import WaveletNetwork, coefficient_scale
        from exporter.networks.image.pixels import frame_of
        from exporter.networks.torch_member import train_classifier

        frame = frame_of(setting)
        scale = coefficient_scale(frame, rows, self.levels)
        build = lambda: WaveletNetwork(frame, scale, setting.columns, self.levels, self.hidden, self.dropout)  # noqa: E731
        return train_classifier(build, rows, setting, self.training)

    def _trees(self, rows: Rows, setting: Setting) -> Trained:
        from lightgbm import LGBMClassifier

        from exporter.networks.feature_trees import FeatureTrees
        from exporter.networks.image.energies import HaarEnergies
        from exporter.networks.image.pixels import frame_of

        frame, spec = frame_of(setting), self.boosting
        trees = LGBMClassifier(
            n_estimators=spec.rounds, num_leaves=spec.leaves, learning_rate=spec.learning_rate,
            colsample_bytree=spec.feature_share, subsample=0.7, subsample_freq=1, max_bin=63,
            n_jobs=1, random_state=setting.seed, deterministic=True, force_row_wise=True, verbose=-1,
        )  # fmt: skip
        return FeatureTrees(HaarEnergies(frame, self.levels), trees, setting, (frame.name,)).fit(rows)
