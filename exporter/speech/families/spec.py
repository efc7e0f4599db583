"""What the audio members' tables in a recipe have in common."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from exporter.members.base import Setting
from exporter.optimisation.spec import Count, NotNegative, Optimisation, Rate, Share, Spec


class Distortion(Spec, frozen=True, kw_only=True):
    """Random changes of a clip, fresh each time it is seen. Level is left alone: the graphs are deaf to it."""

    speed: Share = 0.15
    """Faster or slower by up to this share; pitch moves along."""
    shift_samples: NotNegative = 80.0
    """Begun later by up to this many samples: frames fall elsewhere."""
    noise_db: float = 10.0
    """White noise at least this far below the clip's mean power, evenly spread over 40 dB."""


class Joining(Spec, frozen=True, kw_only=True):
    """Strings of words made of single clips."""

    tokens: tuple[Count, Count] = (2, 5)
    """Fewest and most words of a string."""
    gap_s: tuple[NotNegative, NotNegative] = (0.0, 0.2)
    """Shortest and longest silence between two words, in seconds."""


class AudioTraining(Optimisation, frozen=True, kw_only=True):
    """How a torch member is trained: AdamW under a one-cycle learning rate, on batches of clips about as long."""

    epochs: Count = 30
    batch_rows: Annotated[int, Meta(ge=2)] = 32
    learning_rate: Rate = 3e-3
    """The peak of the cycle."""
    weight_decay: NotNegative = 0.01
    label_smoothing: Share = 0.05
    distortion: Distortion = Distortion()


def sample_rate(setting: Setting) -> int:
    """Hz of the rows' sound, as the data source says it."""
    return int(setting.context["sample_rate"])
