"""torch modules as members."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from exporter.brought.trained import TrainedElsewhere
from exporter.errors import BundleError
from exporter.families.base import Setting
from exporter.networks.torch_member import TorchMember
from model_repo import Input
from model_repo.manifest import Kind


def from_module(
    name: str, module: nn.Module, tensors: Sequence[Input], takes: Sequence[str], columns: int, kind: Kind | None
) -> TrainedElsewhere:
    """The member of a module that takes the tensors in `takes`, in that order, and gives float32 [n, C].

    The module itself stays as it is, in its mode and on its device. Raises BundleError, ConversionError.
    """
    if columns > 1 and kind not in ("logits", "probabilities"):
        raise BundleError(f"member {name!r}", ["a module does not say what it gives: kind='logits' or 'probabilities'"])
    raw: Kind = "value" if columns == 1 else kind or "logits"
    known = {entry.name: entry for entry in tensors}
    if unknown := [each for each in takes if each not in known]:
        raise BundleError(f"member {name!r}", [f"takes {', '.join(unknown)}, there are {', '.join(known)}"])
    setting = Setting(tuple(known[each] for each in takes), {}, columns, seed=0)
    member = TorchMember(copy.deepcopy(module), setting, raw, tuple(takes))
    return TrainedElsewhere(member.to_onnx(), raw, raw, member.predict, member.tolerance, None, tuple(takes))
