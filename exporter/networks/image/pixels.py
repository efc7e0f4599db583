"""From an ensemble's image input to the planes that networks take: normalisation is part of the graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.families.base import Setting


@dataclass(frozen=True)
class Frame:
    """An image input: [n, height, width] or [n, channels, height, width] with values from `low` to `high`."""

    name: str
    channels: int
    height: int
    width: int
    low: float
    high: float

    @property
    def size(self) -> int:
        """Numbers per image."""
        return self.channels * self.height * self.width


def frame_of(setting: Setting) -> Frame:
    """The frame of the ensemble's only input. Raises TrainingError when that is no image of a fixed size."""
    shapes = {entry.name: entry.shape for entry in setting.inputs}
    (name, shape), *others = shapes.items()
    if others or len(shape) not in (3, 4) or -1 in shape[1:]:
        raise TrainingError(f"inputs are {shapes}, expected one image [-1, h, w] or [-1, c, h, w]")
    low, high = setting.ranges.get(name, (0.0, 1.0))
    channels, height, width = (1, *shape[1:]) if len(shape) == 3 else shape[1:]
    return Frame(name, channels, height, width, low, high)


class Pixels(nn.Module):
    """float32 [n, (c,) h, w] of `frame`'s range → [n, c, h, w] from 0 to 1."""

    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self.shape = (frame.channels, frame.height, frame.width)
        self.low, self.span = frame.low, frame.high - frame.low

    def forward(self, image: Tensor) -> Tensor:
        return ((image - self.low) / self.span).reshape(-1, *self.shape)


def planes(frame: Frame, images: Tensor) -> Tensor:
    """The same outside of a graph, for statistics of the fit rows."""
    with torch.no_grad():
        found: Tensor = Pixels(frame)(images)
    return found
