"""Families of networks that read token ids. Over windows of a document each pools inside; torch comes with training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.families.base import Count, Family, Setting, Share, Trained
from exporter.families.text.training import Reading, TextTraining

if TYPE_CHECKING:
    from exporter.networks.text.classifier import Encoder


class _Reader(Family, frozen=True, kw_only=True):
    tokens: str = "tokens"
    """The tokenizer whose ids it reads."""
    size: Count = 96
    """Numbers a token."""
    dropout: Share = 0.3
    training: TextTraining = TextTraining()

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits."""
        from exporter.families.text.member import train_reader

        return train_reader(self._encoder, rows, setting, self.tokens, self.dropout, self.training)

    def _encoder(self, reading: Reading) -> Encoder:
        raise NotImplementedError(f"{type(self).__name__}._encoder; this is a bug")


class Cnn(_Reader, frozen=True, kw_only=True, tag="cnn"):
    """Convolutions of several widths over the tokens, each filter's maximum (Kim 2014)."""

    filters: Count = 96
    """Of each width."""
    widths: tuple[Count, ...] = (1, 3, 5)
    """Odd numbers of tokens."""
    dropout: Share = 0.5

    def _encoder(self, reading: Reading) -> Encoder:
        from exporter.networks.text.convolution import ConvolutionEncoder

        if even := [width for width in self.widths if width % 2 == 0]:
            raise TrainingError(f"widths has {even}, expected odd numbers: an even filter has no middle")
        return ConvolutionEncoder(reading.vocabulary, self.size, self.filters, self.widths, self.dropout)


class _Recurrent(_Reader, frozen=True, kw_only=True):
    hidden: Count = 64
    """Units per direction."""

    def _encoder(self, reading: Reading) -> Encoder:
        from exporter.networks.text.recurrent import RecurrentEncoder

        return RecurrentEncoder(self.family, reading.vocabulary, self.size, self.hidden, self.dropout)


class Gru(_Recurrent, frozen=True, kw_only=True, tag="gru"):
    """GRUs over the text and over the text backwards; maximum, mean and last state."""


class Lstm(_Recurrent, frozen=True, kw_only=True, tag="lstm"):
    """The same with LSTM cells."""


class Recursive(_Reader, frozen=True, kw_only=True, tag="recursive"):
    """One tree-LSTM cell that composes neighbours, over a balanced tree of the tokens."""

    def _encoder(self, reading: Reading) -> Encoder:
        from exporter.networks.text.recursive import RecursiveEncoder

        depth = max(2, (reading.max_tokens - 1).bit_length())
        return RecursiveEncoder(reading.vocabulary, self.size, depth, self.dropout)


class _Transformer(_Reader, frozen=True, kw_only=True):
    layers: Count = 2
    attention_heads: Annotated[int, Meta(ge=1)] = 4
    dropout: Share = 0.3
    training: TextTraining = TextTraining(learning_rate=7e-4, word_dropout=0.25)

    def _encoder(self, reading: Reading) -> Encoder:
        from exporter.networks.text.transformer import TransformerEncoder

        if self.size % self.attention_heads:
            raise TrainingError(
                f"size is {self.size}, expected a multiple of its {self.attention_heads} attention heads"
            )
        return TransformerEncoder(
            reading.vocabulary, self.size, self.layers, self.attention_heads, reading.max_tokens, self.dropout,
            causal=self.family == "gpt",
        )  # fmt: skip


class Bert(_Transformer, frozen=True, kw_only=True, tag="bert"):
    """A transformer in which tokens see all others; the mean of its states."""


class Gpt(_Transformer, frozen=True, kw_only=True, tag="gpt"):
    """A transformer in which tokens see those before them; the state of the last one."""
