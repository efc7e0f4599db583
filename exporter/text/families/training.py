"""How text networks are trained, and what they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from exporter.data.dataset import Array
from exporter.errors import TrainingError
from exporter.members.base import Setting
from exporter.optimisation.spec import Count, NotNegative, Optimisation, Rate, Share


class TextTraining(Optimisation, frozen=True, kw_only=True):
    """AdamW under a one-cycle learning rate, gradients cut at length 1."""

    epochs: Count = 6
    batch_rows: Annotated[int, Meta(ge=2)] = 32
    learning_rate: Rate = 2e-3
    """The peak of the cycle."""
    weight_decay: NotNegative = 0.05
    word_dropout: Share = 0.1
    """Share of the tokens that are hidden, drawn anew for each batch."""
    most_rows: Annotated[int, Meta(ge=0)] = 0
    """Train on so many rows, drawn by the seed; 0: all."""


@dataclass(frozen=True)
class Reading:
    """What a network must know of the tensor that it reads; `windows`: it is [n, W, L]."""

    name: str
    vocabulary: int
    max_tokens: int
    overlap: int
    windows: bool
    vectors: Array
    """float32 [vocabulary, d] of unit variance, strongest directions first: what embeddings begin with."""


def reading_of(setting: Setting, tokens: str) -> Reading:
    """The tensor `tokens` of the setting. Raises TrainingError where there is none, or it is not token ids."""
    entry = setting.input(tokens)
    facts = [f"{tokens}.{fact}" for fact in ("vocabulary", "max_tokens", "overlap", "vectors")]
    if any(fact not in setting.context for fact in facts):
        raise TrainingError(f"takes the tensor {tokens!r}, which is no tokenizer's")
    vocabulary, max_tokens, overlap = (int(setting.context[fact]) for fact in facts[:3])
    return Reading(tokens, vocabulary, max_tokens, overlap, len(entry.shape) == 3, setting.context[facts[3]])
