"""Several members of one torch module: trained together, answering, converted to one graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.conversion.torch_graph import each_to_onnx
from exporter.data.dataset import Array, Rows
from exporter.members.base import NETWORK, Group, Setting, Tolerance, Training
from exporter.members.torch_member import train_module
from model_repo.format.manifest import Kind

_BATCH_ROWS = 256


class GroupMember:
    """A module that maps the setting's tensors to logits float32 [members, n, C]; `mapped`: by `torch.func.vmap`."""

    def __init__(self, module: nn.Module, setting: Setting, members: int, *, mapped: bool = False) -> None:
        self.kind: Kind = "logits"
        self.tolerance: Tolerance = NETWORK
        self._mapped = mapped
        self.outputs = tuple(f"logits_{place}" for place in range(1, members + 1))
        self.module = module.cpu().eval()
        self._inputs = setting.inputs
        self._columns = setting.columns

    @torch.no_grad()
    def predict_each(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, members, C], computed in batches of at most 256 rows on the CPU."""
        arrays = [torch.from_numpy(inputs[entry.name]) for entry in self._inputs]
        chunks = zip(*(torch.split(array, _BATCH_ROWS) for array in arrays), strict=True)
        answers = [self.module(*chunk) for chunk in chunks]
        found: NDArray[np.float32] = torch.cat(answers, dim=1).transpose(0, 1).contiguous().numpy()
        return found

    def to_onnx(self) -> bytes:
        """One graph with an output [n, C] for each member. Raises ConversionError."""
        return each_to_onnx(Unbound(self.module).eval(), self._inputs, self.outputs, self._columns, mapped=self._mapped)


class Unbound(nn.Module):
    """[members, n, C] as a tuple of [n, C]: ONNX outputs of their own."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        each: tuple[Tensor, ...] = torch.unbind(self.module(image), dim=0)
        return each


def train_group(
    build: Callable[[], nn.Module], rows: Rows, setting: Setting, training: Training, members: int
) -> Group:
    """A group from a module trained as a whole, every member on every row. Raises TrainingError."""
    return GroupMember(train_module(build, rows, setting, training, members_cross_entropy), setting, members)


def members_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Mean log-loss of logits [members, n, C]: each member is trained for its own answer, not for their mean."""
    return nn.functional.cross_entropy(output.flatten(0, 1), target.repeat(len(output)))
