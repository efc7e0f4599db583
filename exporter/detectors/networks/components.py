"""What detectors look at, as torch modules: features on a common scale, and their components."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Array, Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting
from exporter.tables.source import CATEGORIES
from model_repo import Input

_BATCH_ROWS = 1024
_SAMPLE_NUMBERS = 2**26
"""Of the features that components are made from: 256 MiB as float32."""
_EXACT = 1024
"""Up to so many features are decomposed exactly, more by random projection."""
_SPARE = 20
_FLOOR = 1e-6
_FARTHEST = 20.0
"""Standard deviations at which a number is cut: strange enough, and one wild column must not drown the others."""


class Features(nn.Module):
    """Tensors [n, …] in the setting's order → float32 [n, width]."""

    def __init__(self, rows: Rows, setting: Setting) -> None:
        """Scales are the rows'. Raises TrainingError for tensors of varying length and for texts."""
        super().__init__()
        parts = [_part(entry, rows.inputs[entry.name], setting) for entry in setting.inputs]
        self.parts = nn.ModuleList(parts)
        self.width = sum(part.width for part in parts)

    def forward(self, *tensors: Tensor) -> Tensor:
        made = [part(tensor) for part, tensor in zip(self.parts, tensors, strict=True)]
        return made[0] if len(made) == 1 else torch.cat(made, dim=1)


class _Part(nn.Module):
    width: int


def _part(entry: Input, array: Array, setting: Setting) -> _Part:
    if entry.datatype == "BYTES" or -1 in entry.shape[1:]:
        raise TrainingError(
            f"detectors take numbers of fixed shape, {entry.name!r} is {entry.datatype} {list(entry.shape)}"
        )
    if entry.name == CATEGORIES:
        return Rarity(array)
    whole = (0.0, 255.0) if entry.datatype == "UINT8" else None
    known = setting.ranges.get(entry.name, whole)
    return Ranged(entry, *known) if known is not None and known[1] > known[0] else Scaled(entry, array)


class Ranged(_Part):
    """Numbers of a declared range, such as pixels → 0 to 1."""

    def __init__(self, entry: Input, low: float, high: float) -> None:
        super().__init__()
        self.width = int(np.prod(entry.shape[1:], dtype=np.int64))
        self.low, self.span = low, high - low

    def forward(self, tensor: Tensor) -> Tensor:
        return (tensor.reshape(-1, self.width).to(torch.float32) - self.low) / self.span


class Scaled(_Part):
    """Other numbers → mean 0, deviation 1, at most 20 of them away; what is missing is 0."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, entry: Input, array: Array) -> None:
        super().__init__()
        self.width = int(np.prod(entry.shape[1:], dtype=np.int64))
        values = array.reshape(len(array), -1).astype(np.float64)
        known = np.where(np.isfinite(values), values, np.nan)
        there = ~np.isnan(known)
        count = np.maximum(there.sum(axis=0), 1)
        mean = np.where(there, known, 0.0).sum(axis=0) / count
        deviation = np.sqrt(np.where(there, np.square(known - mean), 0.0).sum(axis=0) / count)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("deviation", torch.from_numpy((deviation + _FLOOR).astype(np.float32)))

    def forward(self, tensor: Tensor) -> Tensor:
        values = tensor.reshape(-1, self.width).to(torch.float32)
        missing = torch.isnan(values)
        scaled = torch.clamp((values - self.mean) / self.deviation, -_FARTHEST, _FARTHEST)
        return torch.where(missing, torch.zeros_like(scaled), scaled)


class Rarity(_Part):
    """Places of categories int64 [n, M] → how rare each is in its column, mean 0 and deviation 1."""

    table: Tensor
    starts: Tensor

    def __init__(self, places: NDArray[np.int64]) -> None:
        super().__init__()
        rows, self.width = places.shape
        size = int(places.max(initial=0)) + 2
        counts = np.stack([np.bincount(column, minlength=size) for column in places.T])
        rarity = -np.log((counts + 0.5) / (rows + 0.5 * size))
        seen = np.take_along_axis(rarity, places.T, axis=1)
        scaled = (rarity - seen.mean(axis=1, keepdims=True)) / (seen.std(axis=1, keepdims=True) + 0.1)
        self.size = size
        self.register_buffer("table", torch.from_numpy(scaled.astype(np.float32).reshape(-1)))
        self.register_buffer("starts", torch.arange(self.width) * size)

    def forward(self, places: Tensor) -> Tensor:
        # The vocabulary gives unknown words a place beyond all; the last one of the table is nobody's.
        return self.table[torch.clamp(places, 0, self.size - 1) + self.starts]


class Components(nn.Module):
    """Tensors → float32 [n, width]: the strongest components of the features, and the distance from what they span."""

    mean: Tensor
    axes: Tensor

    def __init__(self, rows: Rows, setting: Setting, count: int) -> None:
        """All features as they are where there are no more than `count`."""
        super().__init__()
        self.features = Features(rows, setting)
        self.names = [entry.name for entry in setting.inputs]
        self.projected = self.features.width > count < len(rows)
        self.width = count + 1 if self.projected else self.features.width
        if self.projected:
            mean, axes = _principal(_batched(self.features, self.names, rows.inputs), count, setting.seed)
            self.register_buffer("mean", mean)
            self.register_buffer("axes", axes)

    def forward(self, *tensors: Tensor) -> Tensor:
        features = self.features(*tensors)
        if not self.projected:
            return features  # type: ignore[no-any-return]  # nn.Module.__call__ gives Any
        centred = features - self.mean
        inside = centred @ self.axes
        beside = centred - inside @ self.axes.T
        return torch.cat([inside, torch.sqrt((beside * beside).sum(dim=1, keepdim=True) + _FLOOR)], dim=1)

    def of(self, rows: Rows) -> NDArray[np.float32]:
        """Those of rows, on the CPU."""
        return self.of_inputs(rows.inputs)

    def of_inputs(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """Those of inputs [n, …]."""
        return _batched(self, self.names, inputs).numpy()


@torch.no_grad()
def _batched(module: nn.Module, names: list[str], inputs: Mapping[str, Array]) -> Tensor:
    tensors = [torch.from_numpy(inputs[name]) for name in names]
    chunks = zip(*(torch.split(tensor, _BATCH_ROWS) for tensor in tensors), strict=True)
    return torch.cat([module(*chunk) for chunk in chunks])


def _principal(features: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean [d] and the strongest directions [d, count] of the features [n, d], evenly sampled where they are many."""
    most = max(1, _SAMPLE_NUMBERS // features.shape[1])
    step = -(-len(features) // most)
    sample = features[::step]
    mean = sample.mean(dim=0)
    if features.shape[1] <= _EXACT:
        _, _, axes = torch.linalg.svd((sample - mean).double(), full_matrices=False)
        return mean, axes[:count].T.float().contiguous()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _, _, found = torch.svd_lowrank(sample - mean, q=min(count + _SPARE, *sample.shape), niter=2)
    return mean, found[:, :count].contiguous()
