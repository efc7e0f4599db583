"""RNN transducers: they transcribe strings of words, and classify single ones by the likelihood of each."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Family
from exporter.optimisation.spec import Count, NotNegative, Share
from exporter.speech.families.spec import AudioTraining, Joining


class SoundTransducer(Family, frozen=True, kw_only=True, tag="transducer"):
    """Encoder, prediction network and joint, trained by the exact RNN-T loss on clips and on strings of them.

    As a member it answers with the likelihood of each string of one word; the version offers `transcript` besides.
    """

    trainer: ClassVar[str] = "exporter.speech.networks.transducer_member:train_transducer"

    hidden: Count = 64
    """Units of the joint, of the prediction network, and of the encoder per direction; a multiple of 4."""
    dropout: Share = 0.2
    string_rows: Count = 16
    """Strings beside the clips of each batch."""
    joining: Joining = Joining()
    choosing: NotNegative = 1.0
    """Weight of choosing the right word of a single clip, beside its likelihood."""
    transcript_tokens: Count = 8
    """Most tokens of a transcript."""
    training: AudioTraining = AudioTraining(epochs=30, learning_rate=6e-3)
