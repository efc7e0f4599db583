"""Classifiers of clips that are torch modules: trained by cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Rows
from exporter.members.base import Setting, Tolerance
from exporter.members.torch_member import TorchMember
from exporter.members.training_loop import seeded
from exporter.speech.families.spec import AudioTraining
from exporter.speech.networks.fitting import Batch, Clips, distorted, epoch_of, optimised
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
        clips = Clips(rows, setting.device)
        generator = torch.Generator(setting.device).manual_seed(setting.seed)
        criterion = nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)

        def loss(audio: Tensor, target: Tensor) -> Tensor:
            found: Tensor = criterion(module(audio), target)
            return found

        steps = training.epochs * sum(1 for _ in epoch_of(clips, training.batch_rows, torch.Generator()))
        optimised(module, _batches(clips, training, generator), steps, loss, training)
    return SoundMember(module, setting)


def _batches(clips: Clips, training: AudioTraining, generator: torch.Generator) -> Iterator[Batch]:
    for _ in range(training.epochs):
        for index in epoch_of(clips, training.batch_rows, generator):
            audio, length, target = clips.taken(index)
            audio, _ = distorted(audio, length, training.distortion, generator)
            yield audio, target
