"""Logistic regression on features that a fixed module makes of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.families.linear import Linear
from exporter.images.networks.patches import LinearOnFeatures, PatchResponses, patch_bank
from exporter.images.networks.pixels import frame_of
from exporter.members.base import Setting, Tolerance
from exporter.members.torch_member import TorchMember

_BATCH_ROWS = 128
_FLOOR = 0.01
"""Of the mean deviation, added to each: a filter that hardly answers stays small."""
_HISTORY = 10

SUMMED = Tolerance(atol=1e-4, rtol=1e-4)
"""Thousands of features are divided by small deviations and added up: rounding shows in the fifth decimal."""


def train_linear(spec: Linear, rows: Rows, setting: Setting) -> TorchMember:
    """A member with logits."""
    frame = frame_of(setting)
    bank = patch_bank(frame, rows, spec.patches, spec.patch, setting.seed)
    features = PatchResponses(frame, bank, spec.stride, spec.grid, spec.threshold).to(setting.device).eval()
    x = _made(features, torch.from_numpy(rows.inputs[frame.name]), setting.device)
    mean, deviation = x.mean(dim=0), x.std(dim=0)
    deviation += _FLOOR * deviation.mean()
    head = nn.Linear(features.size, setting.columns).to(setting.device)
    x -= mean
    x /= deviation
    _fit(head, x, torch.from_numpy(rows.target).to(setting.device), spec)
    return TorchMember(LinearOnFeatures(features, mean, deviation, head), setting, "logits", (), SUMMED)


@torch.no_grad()
def _made(features: nn.Module, images: Tensor, device: str) -> Tensor:
    return torch.cat([features(part.to(device)) for part in torch.split(images, _BATCH_ROWS)])


def _fit(head: nn.Linear, x: Tensor, target: Tensor, spec: Linear) -> None:
    """`head` where the penalised log-loss is least, from zero: the problem is convex, so there is no seed."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimiser = torch.optim.LBFGS(
        head.parameters(), max_iter=spec.steps, history_size=_HISTORY, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = nn.functional.cross_entropy(head(x), target) + spec.penalty * (head.weight**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
