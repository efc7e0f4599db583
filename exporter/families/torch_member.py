"""Members that are torch modules: trained, answering, converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Array, Rows
from exporter.families.base import NETWORK, Setting, Trained, Training
from exporter.training import Loss, fit, seeded
from model_repo.manifest import Kind

_BATCH_ROWS = 256


class TorchMember:
    """A module that maps the ensemble's inputs, in their declared order, to float32 [n, C]."""

    tolerance = NETWORK

    def __init__(self, module: nn.Module, setting: Setting, kind: Kind) -> None:
        self.kind: Kind = kind
        self._module = module.cpu().eval()
        self._setting = setting

    @torch.no_grad()
    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C], computed in batches of at most 256 rows on the CPU."""
        arrays = [torch.from_numpy(inputs[entry.name]) for entry in self._setting.inputs]
        chunks = zip(*(torch.split(array, _BATCH_ROWS) for array in arrays), strict=True)
        answers = [self._module(*chunk) for chunk in chunks]
        found: NDArray[np.float32] = torch.cat(answers).numpy()
        return found

    def to_onnx(self) -> bytes:
        """The module as ONNX; raises ConversionError."""
        return to_onnx(self._module, self._setting.inputs, self.kind, self._setting.columns)


def train_classifier(build: Callable[[], nn.Module], rows: Rows, setting: Setting, training: Training) -> Trained:
    """A member with logits from a module trained by cross-entropy."""
    return TorchMember(train_module(build, rows, setting, training, cross_entropy), setting, "logits")


def train_module(
    build: Callable[[], nn.Module], rows: Rows, setting: Setting, training: Training, loss: Loss
) -> nn.Module:
    """The module that `build` makes under the seed, trained on one image input. Raises TrainingError."""
    with seeded(setting.seed):
        module = build().to(setting.device)
        (name,) = (entry.name for entry in setting.inputs)
        images = torch.from_numpy(rows.inputs[name]).to(setting.device)
        target = torch.from_numpy(rows.target).to(setting.device)
        return fit(module, images, target, training, loss, setting.seed)


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Mean log-loss of logits [n, C]."""
    return nn.functional.cross_entropy(output, target)
