"""Training on sounds of unlike length: batches of clips about as long, distorted anew each time they are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.run import optimise
from exporter.speech.clips import lengths
from exporter.speech.families.spec import AudioTraining, Distortion
from exporter.speech.source import INPUT

_SORTED_BATCHES = 8
"""So many batches are sorted by length at a time: little padding, and yet other neighbours in each epoch."""
_MAX_NORM = 5.0
"""Gradients are cut to this norm; recurrent members jump without."""


class Clips:
    """The clips of `rows` as tensors: `audio` [n, T], `length` int64 [n] in samples, `target` int64 [n].

    On the CPU, where batches are cut, distorted and joined; what is trained on goes to the network's device.
    """

    def __init__(self, rows: Rows) -> None:
        audio = rows.inputs[INPUT]
        self.audio = torch.from_numpy(audio)
        self.length = torch.from_numpy(lengths(audio))
        self.target = torch.from_numpy(rows.target)

    def __len__(self) -> int:
        return len(self.target)

    def taken(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Audio cut to the longest of the clips at `index`, their lengths and targets."""
        length = self.length[index]
        return self.audio[index, : int(length.max())], length, self.target[index]


def epoch_of(clips: Clips, rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Every clip once: indices of about `rows` clips each, similar in length, in random order."""
    order = torch.randperm(len(clips), generator=generator)
    batches: list[Tensor] = []
    for pool in torch.split(order, rows * _SORTED_BATCHES):
        by_length = pool[clips.length[pool].argsort(stable=True)]
        batches += by_length.tensor_split(max(1, len(pool) // rows))
    for place in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[place]


def distorted(audio: Tensor, length: Tensor, bounds: Distortion, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each clip of [n, T] faster or slower, begun a little later, with noise; and its new length."""
    speed = 1 + (torch.rand(len(audio), generator=generator) * 2 - 1) * bounds.speed
    shift = (torch.rand(len(audio), generator=generator) * bounds.shift_samples).floor()
    made = (length / speed + shift).ceil().long()
    place = (torch.arange(int(made.max()))[None, :] - shift[:, None]) * speed[:, None]
    before = place.floor().long()
    inside = (place >= 0) & (before < length[:, None])
    before = before.clamp(0, audio.shape[1] - 1)
    after = (before + 1).clamp(max=audio.shape[1] - 1)
    share = place - place.floor()
    moved = (audio.gather(1, before) * (1 - share) + audio.gather(1, after) * share) * inside
    return moved + _noise(moved, made, bounds, generator), made


def _noise(audio: Tensor, length: Tensor, bounds: Distortion, generator: torch.Generator) -> Tensor:
    """White noise up to each clip's length, between `noise_db` and 40 dB more below its own mean power."""
    power = audio.square().sum(dim=1) / length
    below = bounds.noise_db + 40 * torch.rand(len(audio), generator=generator)
    deviation = power.sqrt() * 10 ** (-below / 20)
    noise = torch.randn(audio.shape, generator=generator) * deviation[:, None]
    return noise * (torch.arange(audio.shape[1])[None, :] < length[:, None])


def solved(
    module: nn.Module,
    clips: Clips,
    prepare: Callable[[Tensor, torch.Generator], Batch],
    loss: Callable[[nn.Module, Batch], Tensor],
    training: AudioTraining,
    generator: torch.Generator,
    logits: Callable[[nn.Module, Batch], Tensor] | None = None,
) -> nn.Module:
    """`module` trained in place on batches of clips about as long; set to evaluation.

    `prepare` makes a batch of the clips' numbers, on the CPU. Raises TrainingError where the loss is not finite.
    """
    device = next(module.parameters()).device

    def moved(batch: Batch) -> Batch:
        return tuple(tensor.to(device) for tensor in batch)

    def plain(index: Tensor) -> Batch:
        audio, _, target = clips.taken(index)
        return moved((audio, target))

    problem = Problem(
        module=module,
        rows=len(clips),
        epoch=lambda drawing: epoch_of(clips, training.batch_rows, drawing),
        prepare=lambda index, drawing: moved(prepare(index, drawing)),
        loss=loss,
        steps=training.epochs * sum(1 for _ in epoch_of(clips, training.batch_rows, torch.Generator())),
        spec=training,
        generator=generator,
        most_gradient=_MAX_NORM,
        logits=logits,
        plain=plain,
    )
    return optimise(problem)
