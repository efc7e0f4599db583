"""From an ensemble's image input to the planes that networks take: layout and scale are part of the graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting

_SAMPLE_NUMBERS = 2**26
"""Of the images that statistics are made from: 256 MiB as float32, 21,845 images of 32 × 32 in colour."""


@dataclass(frozen=True)
class Frame:
    """An image input: [n, h, w], [n, c, h, w] or, with `channels_last`, [n, h, w, c]; values from `low` to `high`."""

    name: str
    channels: int
    height: int
    width: int
    low: float
    high: float
    channels_last: bool = False

    @property
    def size(self) -> int:
        """Numbers per image."""
        return self.channels * self.height * self.width


def frame_of(setting: Setting) -> Frame:
    """The frame of the ensemble's only input. Raises TrainingError when that is no image of a fixed size."""
    shapes = {entry.name: entry.shape for entry in setting.inputs}
    entry, *others = setting.inputs
    shape = entry.shape
    if others or len(shape) not in (3, 4) or -1 in shape[1:]:
        raise TrainingError(f"inputs are {shapes}, expected one image [-1, h, w], [-1, c, h, w] or [-1, h, w, c]")
    whole = (0.0, 255.0) if entry.datatype == "UINT8" else (0.0, 1.0)
    low, high = setting.ranges.get(entry.name, whole)
    last = len(shape) == 4 and entry.image is not None and entry.image.layout == "HWC"
    channels, height, width = (1, *shape[1:]) if len(shape) == 3 else (shape[3], *shape[1:3]) if last else shape[1:]
    return Frame(entry.name, channels, height, width, low, high, last)


class Pixels(nn.Module):
    """Images of `frame`'s layout, range and datatype → float32 [n, c, h, w] from 0 to 1."""

    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self.last = frame.channels_last
        self.shape = (frame.channels, frame.height, frame.width)
        self.low, self.span = frame.low, frame.high - frame.low

    def forward(self, image: Tensor) -> Tensor:
        # Not contiguous where the channels come last, and not made so: convolutions are a third faster that way.
        planes = image.permute(0, 3, 1, 2) if self.last else image.reshape(-1, *self.shape)
        return (planes.to(torch.float32) - self.low) / self.span


def planes(frame: Frame, images: Tensor) -> Tensor:
    """The same outside of a graph, for statistics of the fit rows."""
    with torch.no_grad():
        found: Tensor = Pixels(frame)(images)
    return found


def sampled_planes(frame: Frame, rows: Rows, most: int | None = None) -> Tensor:
    """The planes of evenly spaced rows: at most `most`, and no more than fit into 256 MiB."""
    count = min(len(rows), most or len(rows), max(1, _SAMPLE_NUMBERS // frame.size))
    index = torch.linspace(0, len(rows) - 1, count, dtype=torch.float64).round().long()
    return planes(frame, torch.from_numpy(rows.inputs[frame.name])[index])
