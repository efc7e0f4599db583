"""Families of networks that read token ids. Over windows of a document each pools inside."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Share
from exporter.text.families.training import TextTraining


class Reader(Family, frozen=True, kw_only=True):
    """What all of them have."""

    tokens: str = "tokens"
    """The tokenizer whose ids it reads."""
    size: Count = 96
    """Numbers a token."""
    dropout: Share = 0.3
    training: TextTraining = TextTraining()


class Cnn(Reader, frozen=True, kw_only=True, tag="cnn"):
    """Convolutions of several widths over the tokens, each filter's maximum (Kim 2014)."""

    trainer: ClassVar[str] = "exporter.text.networks.convolution:train_cnn"

    filters: Count = 96
    """Of each width."""
    widths: tuple[Count, ...] = (1, 3, 5)
    """Odd numbers of tokens."""
    dropout: Share = 0.5


class _Recurrent(Reader, frozen=True, kw_only=True):
    trainer: ClassVar[str] = "exporter.text.networks.recurrent:train_recurrent"

    hidden: Count = 64
    """Units per direction."""


class Gru(_Recurrent, frozen=True, kw_only=True, tag="gru"):
    """GRUs over the text and over the text backwards; maximum, mean and last state."""


class Lstm(_Recurrent, frozen=True, kw_only=True, tag="lstm"):
    """The same with LSTM cells."""


class Recursive(Reader, frozen=True, kw_only=True, tag="recursive"):
    """One tree-LSTM cell that composes neighbours, over a balanced tree of the tokens."""

    trainer: ClassVar[str] = "exporter.text.networks.recursive:train_recursive"


class _Transformer(Reader, frozen=True, kw_only=True):
    trainer: ClassVar[str] = "exporter.text.networks.transformer:train_transformer"

    layers: Count = 2
    attention_heads: Annotated[int, Meta(ge=1)] = 4
    dropout: Share = 0.3
    training: TextTraining = TextTraining(learning_rate=7e-4, word_dropout=0.25)


class Bert(_Transformer, frozen=True, kw_only=True, tag="bert"):
    """A transformer in which tokens see all others; the mean of its states."""


class Gpt(_Transformer, frozen=True, kw_only=True, tag="gpt"):
    """A transformer in which tokens see those before them; the state of the last one."""
