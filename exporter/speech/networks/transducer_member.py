"""Members that are RNN transducers: trained, answering, transcribing, converted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.conversion.graph import normalised
from exporter.conversion.torch_graph import traced
from exporter.data.dataset import Array, Rows
from exporter.errors import ParityError
from exporter.members.base import ExtraGraph, Setting
from exporter.optimisation.problem import Batch
from exporter.optimisation.run import seeded
from exporter.speech.families.spec import sample_rate
from exporter.speech.families.transducer import SoundTransducer
from exporter.speech.networks.fitting import Clips, distorted, solved
from exporter.speech.networks.member import EXAMPLE_SAMPLES, SoundMember
from exporter.speech.networks.strings import Strings, drawn
from exporter.speech.networks.transcripts import token_error_rate, without_padding
from exporter.speech.networks.transducer import Greedy, Transducer
from exporter.speech.source import INPUT
from server.runtime.sessions.session import Model, Session, SessionKey

TRANSCRIPT = "transcript"
_TEST_STRINGS = 300
_BATCH_ROWS = 25


class TransducerMember(SoundMember):
    """A transducer that answers with log-likelihoods, and transcribes."""

    def __init__(self, module: Transducer, spec: SoundTransducer, setting: Setting) -> None:
        super().__init__(module, setting)
        self._spec, self._setting = spec, setting
        self._greedy = Greedy(module, spec.transcript_tokens).eval()

    def extras(self) -> tuple[ExtraGraph, ...]:
        """The greedy search as a graph of its own: `transcript` int64 [n, tokens]. Raises ConversionError."""
        inputs = [self._setting.input(INPUT)]
        model = traced(self._greedy, inputs, TRANSCRIPT, EXAMPLE_SAMPLES)
        tokens = self._spec.transcript_tokens
        onnx = normalised(model, inputs, TRANSCRIPT, tokens, "INT64")
        return (ExtraGraph(TRANSCRIPT, "INT64", (-1, tokens), onnx),)

    def figures(self, rows: Rows, extras: Mapping[str, bytes]) -> Mapping[str, float]:
        """The token error rate of the exported search on strings joined from `rows`.

        Raises ParityError where the graph transcribes otherwise than the member itself.
        """
        rate = sample_rate(self._setting)
        generator = torch.Generator().manual_seed(0)  # the same strings whatever the member's seed
        strings = drawn(Clips(rows), _TEST_STRINGS, self._spec.joining, rate, generator, None)
        said = [
            tokens[:length] for tokens, length in zip(strings.tokens.tolist(), strings.length.tolist(), strict=True)
        ]
        found = transcribed(extras[TRANSCRIPT], strings.audio.numpy())
        self._require_same(found, strings)
        return {"token_error_rate": token_error_rate(without_padding(found), said)}

    @torch.no_grad()
    def transcribe(self, audio: NDArray[np.float32]) -> NDArray[np.int64]:
        """int64 [n, tokens], padded with -1, by torch."""
        parts = torch.split(torch.from_numpy(audio), _BATCH_ROWS)
        found: NDArray[np.int64] = torch.cat([self._greedy(part) for part in parts]).numpy()
        return found

    def _require_same(self, found: NDArray[np.int64], strings: Strings) -> None:
        """Rounding may decide a frame in which blank and token are level; more than one string in 100 is a fault."""
        own = self.transcribe(strings.audio.numpy())
        differ = int(np.logical_or.reduce(own != found, axis=1).sum())
        if differ > len(own) / 100:
            raise ParityError(f"the transcript graph answers {differ} of {len(own)} strings otherwise than the member")


def transcribed(graph: bytes, audio: NDArray[np.float32]) -> NDArray[np.int64]:
    """int64 [n, tokens] of an exported search, some rows at a time."""
    session = Session(SessionKey(hashlib.sha256(graph).hexdigest()), Model(graph))
    parts = range(0, len(audio), _BATCH_ROWS)
    found: list[Array] = [
        np.asarray(session.run([TRANSCRIPT], {INPUT: audio[start : start + _BATCH_ROWS]})[0]) for start in parts
    ]
    return np.concatenate(found)


def train_transducer(spec: SoundTransducer, rows: Rows, setting: Setting) -> TransducerMember:
    """A member trained on clips and strings of them; every string is drawn anew. Raises TrainingError."""
    training, rate = spec.training, sample_rate(setting)
    with seeded(setting.seed):
        module = Transducer(rate, setting.columns, spec.hidden, spec.dropout).to(setting.device)
        clips = Clips(rows)

        def prepare(index: Tensor, drawing: torch.Generator) -> Batch:
            audio, length, target = clips.taken(index)
            audio, _ = distorted(audio, length, training.distortion, drawing)
            strings = drawn(clips, spec.string_rows, spec.joining, rate, drawing, training.distortion)
            return audio, target, strings.audio, strings.tokens, strings.length

        def loss(network: nn.Module, batch: Batch) -> Tensor:
            audio, target, strings, tokens, length = batch
            each, said = network(audio, strings, tokens, length)
            single = -each.gather(1, target[:, None])
            choice = nn.functional.cross_entropy(each, target, label_smoothing=training.label_smoothing)
            total: Tensor = single.mean() - (said / length).mean() + spec.choosing * choice
            return total

        generator = torch.Generator().manual_seed(setting.seed)
        solved(_Trained(module), clips, prepare, loss, training, generator)
    return TransducerMember(module.cpu(), spec, setting)


class _Trained(nn.Module):
    """Clips, and strings with their tokens → log-likelihoods of the words, and of the strings."""

    def __init__(self, transducer: Transducer) -> None:
        super().__init__()
        self.transducer = transducer

    def forward(self, audio: Tensor, strings: Tensor, tokens: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        return self.transducer(audio), self.transducer.string_log_likelihood(strings, tokens, length)
