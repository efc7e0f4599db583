"""Weights by name: what they are the digest of, and how a module takes over those that fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor, nn

from exporter.errors import TrainingError

State = dict[str, Tensor]
"""A module's parameters and buffers by name."""

_SHOWN = 3


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What one network's training began with."""

    start: str
    """sha256 of the weights, buffers included, before the first step."""
    taken: tuple[str, ...] = ()
    """Names of the tensors that were taken over."""
    own: tuple[str, ...] = ()
    """Names of those that it initialised itself, where others were taken over."""
    unused: tuple[str, ...] = ()
    """Names of those that were offered and fit nowhere."""


def state_of(module: nn.Module) -> State:
    """Parameters and buffers as they are now, copied to the CPU."""
    return {name: entry.detach().cpu().clone() for name, entry in module.state_dict().items()}


def digest_of(states: Sequence[State]) -> str:
    """sha256 over names, datatypes, shapes and every byte of several networks' tensors."""
    found = hashlib.sha256()
    for place, name, tensor in _each(states):
        found.update(_declared(place, name, tensor))
        # Copied: a tensor of one entry counts as contiguous whatever its stride, which a view does not take.
        flat = tensor.detach().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)
        found.update(flat.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def structure_of(states: Sequence[State]) -> str:
    """sha256 over names, datatypes and shapes: equal for networks whose weights can be averaged."""
    found = hashlib.sha256()
    for place, name, tensor in _each(states):
        found.update(_declared(place, name, tensor))
    return found.hexdigest()


def _each(states: Sequence[State]) -> list[tuple[int, str, Tensor]]:
    return [(place, name, state[name]) for place, state in enumerate(states) for name in sorted(state)]


def _declared(place: int, name: str, tensor: Tensor) -> bytes:
    return f"{place} {name} {tensor.dtype} {tuple(tensor.shape)}\n".encode()


def take_over(module: nn.Module, offered: State) -> Begun:
    """Copy into `module` every offered tensor of a name and shape that it has; others stay as they are.

    Raises TrainingError where none fits.
    """
    own = module.state_dict()
    taken = tuple(name for name in own if name in offered and offered[name].shape == own[name].shape)
    if not any(own[name].numel() for name in taken):
        raise TrainingError(
            f"init_from: none of its {len(offered)} tensors ({_few(offered)}) has name and shape of one of this "
            f"network's {len(own)} ({_few(own)}), expected parameters of a network that is at least partly the same"
        )
    module.load_state_dict({name: offered[name] for name in taken}, strict=False)
    return Begun(
        start=digest_of([state_of(module)]),
        taken=taken,
        own=tuple(name for name in own if name not in taken),
        unused=tuple(name for name in offered if name not in taken),
    )


def _few(state: State) -> str:
    told = [f"{name} {list(tensor.shape)}" for name, tensor in list(state.items())[:_SHOWN]]
    return ", ".join(told) + (", …" if len(state) > _SHOWN else "")
