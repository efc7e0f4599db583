"""Classifiers of clips that are torch modules: trained by cross-entropy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Rows
from exporter.members.base import Setting, Tolerance
from exporter.members.torch_member import TorchMember
from exporter.optimisation.problem import Batch
from exporter.optimisation.run import seeded
from exporter.speech.families.spec import AudioTraining
from exporter.speech.networks.fitting import Clips, distorted, solved
from exporter.speech.source import INPUT

SOUND = Tolerance(atol=1e-4, rtol=1e-3)
"""A logarithm of power comes first: where a band is 50 dB down, the rounding of the loudest shows in its third digit
(measured differences of logits: up to 2e-5)."""

EXAMPLE_SAMPLES = 4000
"""Length that a graph is traced with: several frames after every stride."""


class SoundMember(TorchMember):
    """A module that maps `audio` [n, T] to logits [n, C]."""

    def __init__(self, module: nn.Module, setting: Setting) -> None:
        super().__init__(module, setting, "logits", (INPUT,), SOUND)
        self._columns_of = setting.columns
        self._entry = setting.input(INPUT)

    def to_onnx(self) -> bytes:
        """The module as ONNX; raises ConversionError."""
        return to_onnx(self.module, [self._entry], self.kind, self._columns_of, EXAMPLE_SAMPLES)


def train_clip_classifier(
    build: Callable[[], nn.Module], rows: Rows, setting: Setting, training: AudioTraining
) -> SoundMember:
    """A member with logits. Raises TrainingError."""
    with seeded(setting.seed):
        module = build().to(setting.device)
        clips = Clips(rows)
        generator = torch.Generator().manual_seed(setting.seed)
        criterion = nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)

        def prepare(index: Tensor, drawing: torch.Generator) -> Batch:
            audio, length, target = clips.taken(index)
            return distorted(audio, length, training.distortion, drawing)[0], target

        def logits(network: nn.Module, batch: Batch) -> Tensor:
            found: Tensor = network(batch[0])
            return found

        def loss(network: nn.Module, batch: Batch) -> Tensor:
            found: Tensor = criterion(logits(network, batch), batch[1])
            return found

        solved(module, clips, prepare, loss, training, generator, logits)
    return SoundMember(module, setting)
