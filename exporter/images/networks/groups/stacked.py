"""Equal networks as one: parameters stacked, the network mapped over them by `torch.func`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils.fusion import fuse_conv_bn_eval

from exporter.data.dataset import Rows
from exporter.images.families.groups import DeepEnsemble
from exporter.images.networks.cnn import ConvolutionalNetwork
from exporter.images.networks.groups.member import GroupMember
from exporter.images.networks.pixels import frame_of
from exporter.members.base import Group, Setting
from exporter.members.torch_member import cross_entropy, train_module
from exporter.seeds import member_seed


class Stacked(nn.Module):
    """Image → outputs [members, n, …] of networks of one structure; in evaluation only.

    Torch turns the mapping into batched operators (a matrix product a member becomes one batched product, a
    convolution a member one grouped convolution), so that the graph has as many nodes as that of one network.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state([network.eval() for network in networks])
        self._names: dict[str, str] = {}
        for name, tensor in {**parameters, **buffers}.items():
            self._names[name] = name.replace(".", "__")
            self.register_buffer(self._names[name], tensor.detach())
        # In a list, which modules do not look into: its own weights are not those of any member.
        self._structure = [copy.deepcopy(networks[0]).to("meta").eval()]

    def forward(self, image: Tensor) -> Tensor:
        state = {name: getattr(self, own) for name, own in self._names.items()}

        def one(weights: dict[str, Tensor]) -> Any:
            return functional_call(self._structure[0], weights, (image,))

        found: Tensor = vmap(one)(state)
        return found


def stacked(networks: Sequence[nn.Module]) -> nn.Module:
    """The networks as one module whose output k is that of network k."""
    with torch.no_grad():
        return Stacked([folded(network) for network in networks])


def folded(network: nn.Module) -> nn.Module:
    """A copy in evaluation with each batch normalisation inside the convolution before it.

    Mapped on its own it becomes ten transpositions and reshapes a layer, which cost more than the convolutions.
    """
    return _folded(copy.deepcopy(network).eval())


def _folded(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _folded(child))
    if not isinstance(module, nn.Sequential):
        return module
    layers: list[nn.Module] = []
    for layer in module:
        if isinstance(layer, nn.BatchNorm2d) and layers and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def train_deep_ensemble(spec: DeepEnsemble, rows: Rows, setting: Setting) -> Group:
    """The members, with logits."""
    return GroupMember(stacked(networks_of(spec, rows, setting)), setting, spec.members, mapped=True)


def networks_of(spec: DeepEnsemble, rows: Rows, setting: Setting) -> list[nn.Module]:
    """The networks apart, each trained under a seed of its own."""
    frame = frame_of(setting)
    return [
        train_module(
            lambda: ConvolutionalNetwork(frame, setting.columns, spec.width, spec.dropout),
            rows,
            replace(setting, seed=member_seed(setting.seed, "network", place)),
            spec.training,
            cross_entropy,
        )
        for place in range(spec.members)
    ]
