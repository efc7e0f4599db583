"""Training on sounds of unlike length: batches of clips about as long, distorted anew each time they are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.speech.clips import lengths
from exporter.speech.families.spec import AudioTraining, Distortion
from exporter.speech.source import INPUT

Batch = tuple[Tensor, ...]
_WARM_UP = 0.2
"""Share of the steps in which the learning rate rises."""
_SORTED_BATCHES = 8
"""So many batches are sorted by length at a time: little padding, and yet other neighbours in each epoch."""
_MAX_NORM = 5.0
"""Gradients are cut to this norm; recurrent members jump without."""


class Clips:
    """The clips of `rows` as tensors: `audio` [n, T], `length` int64 [n] in samples, `target` int64 [n]."""

    def __init__(self, rows: Rows, device: str) -> None:
        audio = rows.inputs[INPUT]
        self.audio = torch.from_numpy(audio).to(device)
        self.length = torch.from_numpy(lengths(audio)).to(device)
        self.target = torch.from_numpy(rows.target).to(device)

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


def optimised(
    module: nn.Module, batches: Iterable[Batch], steps: int, loss: Callable[..., Tensor], training: AudioTraining
) -> nn.Module:
    """`module` after one AdamW step per batch, under a one-cycle learning rate of `steps` steps; set to evaluation.

    `loss` gets a batch's tensors. Raises TrainingError where it is not finite.
    """
    optimiser = torch.optim.AdamW(module.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.learning_rate, total_steps=steps, pct_start=_WARM_UP
    )
    module.train()
    for step, batch in enumerate(batches):
        value = loss(*batch)
        if not torch.isfinite(value):
            raise TrainingError(f"the loss is {value.item()} in step {step + 1} of {steps}")
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), _MAX_NORM)
        optimiser.step()
        schedule.step()
    return module.eval()
