"""Text members that are torch modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Array, Rows
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember
from exporter.optimisation.run import seeded
from exporter.text.families.neural import Reader
from exporter.text.families.training import Reading, reading_of
from exporter.text.networks.classifier import Classifier, Encoder
from exporter.text.networks.fitting import fit_texts, token_counts, trimmed

_BATCH_ROWS = 64
_EXAMPLE_LENGTH = 12

Build = Callable[[Reading], Encoder]
"""The encoder for what is read, its weights drawn from torch's global generator."""


class TextMember(TorchMember):
    """A module that maps one tokenizer's ids to logits."""

    def __init__(self, module: nn.Module, setting: Setting, tokens: str) -> None:
        super().__init__(module, setting, "logits", (tokens,))
        self._tokens = tokens
        self._longest = reading_of(setting, tokens).max_tokens

    def to_onnx(self) -> bytes:
        """The module as ONNX, traced at a length that it can read. Raises ConversionError."""
        return to_onnx(self.module, self._inputs, self.kind, self._columns, min(_EXAMPLE_LENGTH, self._longest))

    @torch.no_grad()
    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C]; rows of about one length at a time and cut to the longest: padding does not matter."""
        ids = torch.from_numpy(inputs[self._tokens])
        order = torch.argsort(token_counts(ids), stable=True)
        answers = torch.cat([self.module(trimmed(ids[index])) for index in torch.split(order, _BATCH_ROWS)])
        found: NDArray[np.float32] = torch.empty_like(answers).index_copy_(0, order, answers).numpy()
        return found


def train_reader(spec: Reader, build: Build, rows: Rows, setting: Setting) -> Trained:
    """A member of the encoder that `build` makes under the setting's seed, pooling and head. Raises TrainingError."""
    tokens = spec.tokens
    reading = reading_of(setting, tokens)
    with seeded(setting.seed):
        encoder = build(reading)
        encoder.begin_with(torch.from_numpy(reading.vectors))
        module = Classifier(encoder, setting.columns, spec.dropout, windows=reading.windows).to(setting.device)
        ids = torch.from_numpy(rows.inputs[tokens]).to(setting.device)
        target = torch.from_numpy(rows.target).to(setting.device)
        return TextMember(fit_texts(module, ids, target, spec.training, setting.seed), setting, tokens)
