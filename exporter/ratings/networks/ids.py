"""Clients' ids to places of a table, inside the graph."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_DENSE_FACTOR = 8
_DENSE_LEAST = 4096
"""Ids that span at most this many times their number, or so many numbers, are looked up in one step."""


class IdPlaces(nn.Module):
    """int64 ids [n] → int64 places [n]; an unknown id is at the place behind the last: the cold start's.

    `ids` int64 [N] ascend. Ids that lie close together are looked up in a table of their span; others by binary
    search, whose ⌈log2 N⌉ steps are unrolled in the graph.
    """

    keys: Tensor
    span: Tensor

    def __init__(self, ids: NDArray[np.int64]) -> None:
        super().__init__()
        self.count = len(ids)
        self.low, self.high = int(ids[0]), int(ids[-1])
        self.register_buffer("keys", torch.from_numpy(np.ascontiguousarray(ids)))
        width = self.high - self.low + 1
        self.dense = width <= max(_DENSE_FACTOR * self.count, _DENSE_LEAST)
        places = np.zeros(width if self.dense else 1, dtype=np.int64)
        if self.dense:
            places[ids - self.low] = np.arange(self.count)
        self.register_buffer("span", torch.from_numpy(places))

    def forward(self, ids: Tensor) -> Tensor:
        place = self.span[ids.clamp(self.low, self.high) - self.low] if self.dense else self._search(ids)
        return torch.where(self.keys[place] == ids, place, self.count)

    def _search(self, ids: Tensor) -> Tensor:
        """The last place whose key is not above the id; 0 where there is none."""
        place = torch.zeros_like(ids)
        for power in reversed(range(self.count.bit_length())):
            ahead = place + (1 << power)
            reached = ahead.clamp(max=self.count - 1)
            place = torch.where((ahead < self.count) & (self.keys[reached] <= ids), reached, place)
        return place
