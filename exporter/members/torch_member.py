"""Members that are torch modules: trained, answering, converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Array, Rows
from exporter.members.base import NETWORK, Setting, Tolerance, Trained, Training
from exporter.members.training_loop import Loss, fit
from exporter.optimisation.run import seeded
from model_repo.format.manifest import Kind

_BATCH_ROWS = 256


class TorchMember:
    """A module that maps the tensors named in `takes`, in that order, to float32 [n, C]; unnamed: all of them."""

    def __init__(
        self,
        module: nn.Module,
        setting: Setting,
        kind: Kind,
        takes: Sequence[str] = (),
        tolerance: Tolerance = NETWORK,
    ) -> None:
        self.kind: Kind = kind
        self.tolerance = tolerance
        self.module = module.cpu().eval()
        self._inputs = tuple(setting.input(name) for name in takes) or setting.inputs
        self._columns = setting.columns

    @torch.no_grad()
    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C], computed in batches of at most 256 rows on the CPU."""
        arrays = [torch.from_numpy(inputs[entry.name]) for entry in self._inputs]
        chunks = zip(*(torch.split(array, _BATCH_ROWS) for array in arrays), strict=True)
        answers = [self.module(*chunk) for chunk in chunks]
        found: NDArray[np.float32] = torch.cat(answers).numpy()
        return found

    def to_onnx(self) -> bytes:
        """The module as ONNX; raises ConversionError."""
        return to_onnx(self.module, self._inputs, self.kind, self._columns)


def train_classifier(
    build: Callable[[], nn.Module], rows: Rows, setting: Setting, training: Training, takes: Sequence[str] = ()
) -> Trained:
    """A member with logits from a module trained by cross-entropy, of labels that of each."""
    loss = label_entropy if setting.task == "multilabel" else cross_entropy
    return TorchMember(train_module(build, rows, setting, training, loss, takes), setting, "logits", takes)


def train_regressor(
    build: Callable[[], nn.Module],
    rows: Rows,
    setting: Setting,
    training: Training,
    loss: Loss,
    takes: Sequence[str] = (),
) -> Trained:
    """A member with a value [n, 1] from a module trained by `loss`, which gets [n, 1] and the targets [n]."""
    return TorchMember(train_module(build, rows, setting, training, loss, takes), setting, "value", takes)


def train_module(
    build: Callable[[], nn.Module],
    rows: Rows,
    setting: Setting,
    training: Training,
    loss: Loss,
    takes: Sequence[str] = (),
) -> nn.Module:
    """The module that `build` makes under the seed, trained on the tensors in `takes` (unnamed: all).

    Raises TrainingError.
    """
    with seeded(setting.seed):
        module = build().to(setting.device)
        names = takes or [entry.name for entry in setting.inputs]
        tensors = tuple(torch.from_numpy(rows.inputs[name]).to(setting.device) for name in names)
        target = torch.from_numpy(rows.target).to(setting.device)
        return fit(module, tensors, target, training, loss, setting.seed, answer=_ANSWERS.get(loss))


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of values [n, 1]."""
    return nn.functional.mse_loss(output[:, 0], target)


def absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of values [n, 1]."""
    return nn.functional.l1_loss(output[:, 0], target)


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Mean log-loss of logits [n, C]."""
    return nn.functional.cross_entropy(output, target)


def label_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Mean log-loss over the labels of logits [n, C]; the targets are 0 or 1, int64 [n, C]."""
    return nn.functional.binary_cross_entropy_with_logits(output, target.to(output.dtype))


_ANSWERS: dict[Loss, Literal["logits", "value"]] = {
    cross_entropy: "logits",
    squared_error: "value",
    absolute_error: "value",
}
"""What modules give that are trained by these losses."""
