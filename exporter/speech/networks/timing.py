"""Sequences of unlike length without packing: stretched to one length, or read in both directions under a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.speech.networks.mel import valid


class Stretched(nn.Module):
    """Frames [n, F, d] of which `length` int64 [n] are valid → [n, steps, d]: the valid ones spread over `steps`.

    Longer sequences are averaged under triangles, shorter ones interpolated; what is behind the length has no part.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        return self.weights(frames, length) @ frames

    def weights(self, frames: Tensor, length: Tensor) -> Tensor:
        """float32 [n, steps, F], rows sum to 1."""
        stride = (length.to(frames.dtype) / self.steps)[:, None, None]
        centre = (torch.arange(self.steps, device=frames.device)[None, :, None] + 0.5) * stride
        place = torch.arange(frames.shape[1], device=frames.device)[None, None, :] + 0.5
        # A centre of the first half frame lies before the first place: it takes that frame.
        centre = torch.minimum(centre.clamp(min=0.5), length.to(frames.dtype)[:, None, None] - 0.5)
        weight = (1 - (place - centre).abs() / stride.clamp(min=1)).clamp(min=0)
        weight = weight * valid(length, frames)[:, None, :]
        return weight / weight.sum(dim=2, keepdim=True)


class Reader(nn.GRU):
    """A GRU over [n, F, d] → [n, F, hidden], exported as the one ONNX operator that it is.

    torch 2.13 takes it apart into its steps to learn the shape of the result, and fails where F is computed, as it is
    behind a strided convolution: "The size of tensor a must match the size of tensor b".
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden, batch_first=True)

    def forward(self, frames: Tensor) -> Tensor:  # type: ignore[override]  # one input, one result
        if not torch.compiler.is_exporting():
            found: Tensor = super().forward(frames)[0]
            return found
        sequence = frames.transpose(0, 1)
        first, state, bias_of_first, bias_of_state = (_onnx_order(entry) for entry in self.all_weights[0])
        weights, bias = [first, state], torch.cat([bias_of_first, bias_of_state], dim=1)
        states: Tensor = torch.onnx.ops.symbolic(
            "GRU",
            [sequence, *weights, bias],
            {"hidden_size": self.hidden_size, "linear_before_reset": 1},
            dtype=frames.dtype,
            shape=[frames.shape[1], 1, frames.shape[0], self.hidden_size],
        )
        return states[:, 0].transpose(0, 1)


def _onnx_order(gates: Tensor) -> Tensor:
    """[1, 3 · hidden, …]: torch has reset, update, new; ONNX has update, reset, new, and a leading direction."""
    size = gates.shape[0] // 3
    return torch.cat([gates[size : 2 * size], gates[:size], gates[2 * size :]])[None]


class BothWays(nn.Module):
    """A reader in each direction over the valid frames of [n, F, d] → [n, F, 2 · hidden], 0 behind the length.

    The backward one reads rows that were turned around within their length, so that it starts at the last valid
    frame: a bidirectional GRU would start in the padding, and its answer would depend on how much of that there is.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.forwards = Reader(width, hidden)
        self.backwards = Reader(width, hidden)

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        there = self.forwards(frames)
        back = self.backwards(turned(frames, length))
        both = torch.cat([there, turned(back, length)], dim=2)
        return both * valid(length, frames)[:, :, None]


def turned(frames: Tensor, length: Tensor) -> Tensor:
    """The valid frames of each row in reverse order; those behind the length stay where they are."""
    place = torch.arange(frames.shape[1], device=frames.device)[None, :]
    index = torch.where(place < length[:, None], length[:, None] - 1 - place, place)
    return frames.gather(1, index[:, :, None].expand(-1, -1, frames.shape[2]))


def halved(length: Tensor) -> Tensor:
    """⌈length / 2⌉: how many valid steps a stride of 2 leaves (kernel 3, padding 1)."""
    return torch.div(length + 1, 2, rounding_mode="floor")
