"""torch modules as members."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from math import prod

from torch import Tensor, nn

from exporter.data.dataset import Array
from exporter.errors import BundleError
from exporter.foreign.objects.trained import TrainedElsewhere
from exporter.members.base import Setting
from exporter.members.torch_member import TorchMember
from model_repo import Input
from model_repo.format.manifest import Kind


def from_module(
    name: str,
    module: nn.Module,
    tensors: Sequence[Input],
    takes: Sequence[str],
    kind: Kind | None,
    sample: Mapping[str, Array],
) -> TrainedElsewhere:
    """The member of a module that takes the tensors in `takes`, in that order, and gives float32 [n] or [n, …].

    How many numbers a row has is seen on the `sample`. The module itself stays as it is, in its mode and on its device.
    Raises BundleError, ConversionError.
    """
    if kind not in ("logits", "probabilities", "value"):
        raise BundleError(f"member {name!r}", ["a module does not say what it gives: kind='logits' or 'probabilities'"])
    known = {entry.name: entry for entry in tensors}
    if unknown := [each for each in takes if each not in known]:
        raise BundleError(f"member {name!r}", [f"takes {', '.join(unknown)}, there are {', '.join(known)}"])
    own = copy.deepcopy(module)
    shape = _answered(name, TorchMember(own, Setting(tuple(tensors), {}, 1, seed=0), kind, tuple(takes)), sample)
    setting = Setting(tuple(known[each] for each in takes), {}, prod(shape), seed=0)
    member = TorchMember(own if len(shape) == 1 else _Flat(own), setting, kind, tuple(takes))
    return TrainedElsewhere(member.to_onnx(), kind, kind, member.predict, member.tolerance, None, tuple(takes))


class _Flat(nn.Module):
    """The module with its answers [n] or [n, …] as [n, C]."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self.module(*inputs)
        return found.reshape(found.shape[0], -1)


def _answered(name: str, member: TorchMember, sample: Mapping[str, Array]) -> tuple[int, ...]:
    """The shape of one row's answer. Raises BundleError where the module does not run on the rows."""
    try:
        found = member.predict(sample)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        told = next(iter(str(error).strip().splitlines()), type(error).__name__)
        shapes = ", ".join(f"{key} {list(array.shape)}" for key, array in sample.items())
        raise BundleError(f"member {name!r}", [f"fails on rows of X ({shapes}): {told}"]) from error
    rows = len(next(iter(sample.values())))
    if len(found) != rows:
        raise BundleError(f"member {name!r}", [f"gives {list(found.shape)} for {rows} rows, expected [{rows}, …]"])
    return found.shape[1:]
