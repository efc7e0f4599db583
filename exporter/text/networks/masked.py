"""Padding without influence: masks and the pooling that members share. Padding is id 0 and follows the tokens.

Everything here gives the same for a row however much padding it has and whatever else is in its batch; a row
without a single token pools to zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

PAD = 0
UNKNOWN = 1
_FAR = -1e4
"""Added to a masked score: e to it is 0 in float32, and a row with nothing else is even and not NaN."""


def mask_of(ids: Tensor) -> Tensor:
    """float32 [..., L]: 1 at tokens, 0 at padding."""
    return (ids != PAD).to(torch.float32)


def lengths_of(mask: Tensor) -> Tensor:
    """int64 [n]: tokens of each row of a mask [n, L]."""
    return mask.sum(dim=1).to(torch.int64)


def mean_of(states: Tensor, mask: Tensor) -> Tensor:
    """[n, D]: the mean over the tokens of states [n, L, D]."""
    return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1.0)


def max_of(states: Tensor, mask: Tensor) -> Tensor:
    """[n, D]: the maximum over the tokens of states [n, L, D]."""
    filled = torch.where(mask[:, :, None] > 0, states, torch.full_like(states, _FAR))
    return filled.amax(dim=1) * mask.amax(dim=1, keepdim=True)


def last_of(states: Tensor, lengths: Tensor) -> Tensor:
    """[n, D]: the state [n, L, D] of each row's last token; the first state where there is none."""
    place = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, place)[:, 0]


def attended(states: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """[n, D]: states [n, L, D] weighted by the softmax of scores [n, L] over the tokens."""
    share = torch.softmax(scores + (1.0 - mask) * _FAR, dim=1) * mask
    return (states * share[:, :, None]).sum(dim=1)


def reversed_ids(ids: Tensor, lengths: Tensor) -> Tensor:
    """[n, L]: each row's tokens backwards, its padding still behind them."""
    place = lengths[:, None] - 1 - torch.arange(ids.shape[1], device=ids.device)[None, :]
    return ids.gather(1, place.clamp(min=0)) * (place >= 0).to(ids.dtype)
