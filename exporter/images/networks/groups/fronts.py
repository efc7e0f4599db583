"""Feature fronts: fitted to the rows once, shared by several heads, fixed or trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.families.fronts import SharedFront
from exporter.images.networks.components import Basis, principal_components
from exporter.images.networks.haar import Haar, Scale, coefficient_scale
from exporter.images.networks.patches import PatchResponses, patch_bank
from exporter.images.networks.pixels import Frame, Pixels

_TYPICAL = 0.3
"""Taken from the magnitudes of wavelet coefficients, so that they are about centred."""
_STRIDE = 1
_THRESHOLD = 0.5
"""Weaker responses to a patch count as none."""
_LEARNED = {"pca": ("mean", "projection"), "wavelet": ("filters",), "filters": ("weight", "bias")}
"""Tensors that are trained where the front is not frozen; what centres and scales features stays as fitted."""


class ComponentFront(nn.Module):
    """Image → [n, size]: whitened principal components."""

    mean: Tensor
    projection: Tensor

    def __init__(self, frame: Frame, basis: Basis) -> None:
        super().__init__()
        self.pixels = Pixels(frame)
        self.register_buffer("mean", basis.mean)
        self.register_buffer("projection", basis.projection)
        self.size = basis.projection.shape[1]

    def forward(self, image: Tensor) -> Tensor:
        flat = self.pixels(image).flatten(1)
        found: Tensor = (flat - self.mean) @ self.projection
        return found


class WaveletFront(nn.Module):
    """Image → [n, size]: every Haar coefficient, scaled, signed and as magnitude."""

    centre: Tensor
    deviation: Tensor

    def __init__(self, frame: Frame, scale: Scale, levels: int) -> None:
        super().__init__()
        self.pixels = Pixels(frame)
        self.haar = Haar(frame.channels, levels)
        self.register_buffer("centre", scale.mean)
        self.register_buffer("deviation", scale.deviation)
        self.size = 2 * len(scale.mean)

    def forward(self, image: Tensor) -> Tensor:
        found = self.haar(self.pixels(image))
        return torch.cat([(found - self.centre) / self.deviation, found.abs() - _TYPICAL], dim=1)


class FilterFront(nn.Module):
    """Image → [n, size]: responses to patches, averaged on a grid, each feature scaled by its running statistics."""

    def __init__(self, responses: PatchResponses) -> None:
        super().__init__()
        self.responses = responses
        self.scaled = nn.BatchNorm1d(responses.size, affine=False)
        self.size = responses.size

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.scaled(self.responses(image))
        return found


Front = ComponentFront | WaveletFront | FilterFront


def front_of(spec: SharedFront, frame: Frame, rows: Rows, seed: int) -> Front:
    """The front fitted to the rows. Raises TrainingError where images or rows are too few or too small for it."""
    front: Front
    if spec.front == "pca":
        front = ComponentFront(frame, principal_components(frame, rows, spec.components))
    elif spec.front == "wavelet":
        front = WaveletFront(frame, coefficient_scale(frame, rows, spec.levels), spec.levels)
    else:
        bank = patch_bank(frame, rows, spec.filters, spec.patch, seed)
        front = FilterFront(PatchResponses(frame, bank, _STRIDE, spec.grid, _THRESHOLD))
    if not spec.frozen:
        _learn(front, _LEARNED[spec.front])
    return front


def _learn(front: nn.Module, names: tuple[str, ...]) -> None:
    """Make parameters of the fixed tensors of these names."""
    for module in front.modules():
        for name, tensor in list(module.named_buffers(recurse=False)):
            if name in names:
                delattr(module, name)
                module.register_parameter(name, nn.Parameter(tensor))
