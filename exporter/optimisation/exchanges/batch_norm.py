"""Batch normalisation over the rows that all workers have of a batch, on any device.

torch's SyncBatchNorm is of CUDA alone, and takes a worker without rows for one with some. Means and variances of the
workers' parts are combined by Chan, Golub and LeVeque (1979), in one collective forward and one backward a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from exporter.optimisation.exchanges.gang import Gang


class _Gathered(torch.autograd.Function):
    """A worker's vector [k] → all workers' [W, k]; gradients of it come from all of them."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, gang: Gang) -> Tensor:
        ctx.gang = gang
        return gang.gathered(own)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].clone()
        ctx.gang.sum(total, ctx.gang.statistics)
        return total[ctx.gang.rank], None


class SharedBatchNorm:
    """Makes the batch normalisations of a module take their statistics of all workers' rows, and undoes it.

    Parameters, buffers and their names stay: a layer's `forward` alone is another while it is trained.
    """

    def __init__(self, gang: Gang, present: Callable[[], bool]) -> None:
        """`present`: whether this worker has rows of the batch, or calls the network for company only."""
        self._gang, self._present = gang, present
        self._layers: list[_BatchNorm] = []

    def enter(self, module: nn.Module) -> None:
        """From here on statistics are shared."""
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                self._layers.append(layer)
                layer.forward = self._forward_of(layer)  # type: ignore[method-assign, assignment]

    def leave(self) -> None:
        """Every layer is as it was."""
        for layer in self._layers:
            del layer.forward
        self._layers.clear()

    def _forward_of(self, layer: _BatchNorm) -> Callable[[Tensor], Tensor]:
        own = layer.forward

        def forward(x: Tensor) -> Tensor:
            return self._normalised(layer, x) if layer.training else own(x)

        return forward

    def _normalised(self, layer: _BatchNorm, x: Tensor) -> Tensor:
        layer._check_input_dim(x)  # type: ignore[no-untyped-call]
        count, mean, variance = self._statistics(x)
        if layer.track_running_stats:
            _follow(layer, count, mean.detach(), variance.detach())
        shape = (1, -1, *(1,) * (x.dim() - 2))
        scale = torch.rsqrt(variance + layer.eps)
        found = (x - mean.view(shape)) * scale.view(shape)
        if layer.affine:
            found = found * layer.weight.view(shape) + layer.bias.view(shape)
        return found.to(x.dtype)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values a channel, mean [C], biased variance [C]; of all workers' rows."""
        wide = x if x.dtype == torch.float64 else x.float()
        dims = [dim for dim in range(x.dim()) if dim != 1]
        rows = wide.new_tensor([x.numel() / x.shape[1] * self._present()])
        own = torch.cat([rows, wide.mean(dims), wide.var(dims, unbiased=False)])
        counts, means, variances = _Gathered.apply(own, self._gang).split([1, x.shape[1], x.shape[1]], dim=1)  # type: ignore[no-untyped-call]
        count = counts.detach().sum()
        share = counts.detach() / count
        mean = (share * means).sum(dim=0)
        return count, mean, (share * (variances + (means - mean).square())).sum(dim=0)


@torch.no_grad()
def _follow(layer: _BatchNorm, count: Tensor, mean: Tensor, variance: Tensor) -> None:
    """The running statistics move towards the batch's, as torch moves them."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked += 1
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
    unbiased = variance * count / (count - 1).clamp(min=1)
    layer.running_var.lerp_(unbiased.to(layer.running_var.dtype), share)
