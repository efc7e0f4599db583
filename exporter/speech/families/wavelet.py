"""Trees on wavelet scattering features of sound; both are one graph."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Rate
from exporter.speech.families.spec import Distortion


class SoundWavelet(Family, frozen=True, kw_only=True, tag="wavelet"):
    """First and second order scattering of the fit rows and some distorted copies of them, then trees."""

    trainer: ClassVar[str] = "exporter.speech.networks.wavelet:train_wavelet"

    algorithm: Literal["lightgbm", "random_forest", "extra_trees"] = "lightgbm"
    trees: Count = 80
    """Boosting rounds (one tree per class each), or trees of the forest."""
    leaves: Annotated[int, Meta(ge=2)] = 15
    """LightGBM alone: leaves per tree."""
    learning_rate: Rate = 0.15
    """LightGBM alone."""
    segments: Count = 8
    """Parts of a clip for the first order: about 50 ms of a digit each."""
    parts: Count = 3
    """Parts of a clip for the second order, which spans 0.2 s."""
    copies: Annotated[int, Meta(ge=0)] = 2
    """Distorted copies of each fit row that are trained on besides the row itself."""
    distortion: Distortion = Distortion()
