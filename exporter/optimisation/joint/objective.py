"""What members that train jointly are trained for, beside their own losses."""

from __future__ import annotations

import torch
from torch import Tensor

from exporter.optimisation.spec import FusedAnswer, Parallel

_LEAST = 1e-12
"""Smaller probabilities count as this where their logarithm is taken."""


def fused_log_probabilities(log_p: Tensor, present: Tensor, rule: FusedAnswer) -> Tensor:
    """[n, C] of members' log-probabilities [K, n, C], over those that are `present` (0 or 1, [K, n]; one at least).

    `geometric`: the mean log-probability, normalised; `mean`: the logarithm of the mean probability.
    """
    counted = present[:, :, None]
    if rule == "geometric":
        return torch.log_softmax((log_p * counted).sum(dim=0) / counted.sum(dim=0), dim=1)
    return torch.logsumexp(log_p + torch.log(counted), dim=0) - torch.log(counted.sum(dim=0))


def coupling(log_p: Tensor, present: Tensor, target: Tensor, how: Parallel) -> Tensor:
    """The part of the loss that members share, a scalar; `target` int64 [n], the others as in fused_log_probabilities.

    Each term is the sum over members, so that a member's gradient is about as large as that of its own loss, whatever
    K is: (1 - independence) · K · loss of the fused answer, + decorrelation · Σ -‖p - mean‖² (negative correlation
    learning: Liu and Yao 1999), + mutual · Σ KL(the others' mean ‖ p), the others held fixed (deep mutual learning with
    the peers as one teacher: Zhang et al. 2018, section 3.6).
    """
    value = torch.zeros((), device=log_p.device)
    count = present.sum(dim=0)
    if how.independence < 1:
        fused = fused_log_probabilities(log_p, present, how.fused)
        value = value - (1 - how.independence) * (fused.gather(1, target[:, None])[:, 0] * count).mean()
    if how.decorrelation:
        value = value - how.decorrelation * _spread(log_p.exp(), present, count).mean()
    if how.mutual:
        value = value + how.mutual * _from_others(log_p, present, count).mean()
    return value


def mutual_divergence(log_p: Tensor) -> Tensor:
    """Mean over rows of Σ KL(the others' mean ‖ p) of members that all answered, [K, n, C]; the others held fixed."""
    present = torch.ones(log_p.shape[:2], device=log_p.device)
    return _from_others(log_p, present, present.sum(dim=0)).mean()


def _spread(p: Tensor, present: Tensor, count: Tensor) -> Tensor:
    """[n]: Σ over members of the squared distance from their mean."""
    counted = present[:, :, None]
    mean = (p * counted).sum(dim=0) / count[:, None]
    return ((p - mean).square() * counted).sum(dim=(0, 2))


def _from_others(log_p: Tensor, present: Tensor, count: Tensor) -> Tensor:
    """[n]: Σ over members of the divergence from the others' mean answer; 0 where a member is alone."""
    p = log_p.detach().exp() * present[:, :, None]
    others = (p.sum(dim=0) - p) / (count - 1).clamp(min=1)[None, :, None]
    apart = (others * (others.clamp(min=_LEAST).log() - log_p)).sum(dim=2)
    return (apart * present * (count > 1)).sum(dim=0)
