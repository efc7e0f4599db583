"""Logistic regression on TF-IDF of tokens and of hashed pairs of them; everything from counting on is in the graph."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Rate


class Linear(Family, frozen=True, kw_only=True, tag="linear"):
    """TF-IDF rows of length 1 with 1 + ln tf, and multinomial logistic regression."""

    trainer: ClassVar[str] = "exporter.text.networks.linear:train_linear"

    tokens: str = "tokens"
    """The tokenizer whose ids it counts."""
    buckets: Annotated[int, Meta(ge=1)] = 32_768
    """Of pairs of neighbouring tokens."""
    least_rows: Count = 2
    """Rows that a feature must occur in."""
    strength: Rate = 8.0
    """Inverse of the regularisation (scikit-learn's C)."""
    most_iterations: Count = 300
