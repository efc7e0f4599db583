"""A device that is not there: its tensors say so, are computed on the CPU, and refuse the CPU's as a GPU's do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

DEVICE = "meta"
"""The name that torch lets a wrapper have without a backend."""

_MAY_MIX = ("aten::copy_", "aten::_to_copy", "aten::index.Tensor", "aten::index_put_", "aten::index_put")
"""Operators that take tensors of two devices: copies, and a GPU's tensor by the CPU's row numbers."""


class Elsewhere(Tensor):
    """A tensor of that device; `held` is its content, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        found: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=torch.device(DEVICE), requires_grad=False,
        )  # fmt: skip
        found.held = held
        return found

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own has no types
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return computed(func, args, kwargs or {})


class Device(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it tensors may be made on the device, and moved to it and back."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What `func` gives, on the device that it gives it on. AssertionError where tensors or a generator mix devices."""
    given = [each for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)]
    away = [each for each in given if isinstance(each, Elsewhere)]
    here = [each for each in given if not isinstance(each, Elsewhere) and each.dim() > 0]
    name = func._schema.name if not func._schema.overload_name else f"{func._schema.name}.{func._schema.overload_name}"
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": "cpu"}
    to_device = torch.device(asked).type == DEVICE if asked is not None else bool(away)
    may_mix = name in _MAY_MIX and (isinstance(args[0], Elsewhere) or not name.startswith("aten::index"))
    assert not (away and here) or may_mix, f"{name} takes a tensor of the CPU and one of the device"
    assert kwargs.get("generator") is None or not to_device, f"{name} draws on the device by a generator of the CPU"
    found = func(*_held(args), **_held(kwargs))
    if func._schema.name.endswith("_") and args and isinstance(args[0], Tensor):
        return args[0]
    return tree_map(lambda each: Elsewhere(each) if isinstance(each, Tensor) and to_device else each, found)


def _held(tree: Any) -> Any:
    return tree_map(lambda each: each.held if isinstance(each, Elsewhere) else each, tree)
