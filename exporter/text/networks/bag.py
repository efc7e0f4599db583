"""Logistic regression on TF-IDF of tokens and hashed pairs of them, counted inside the graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.text.networks.masked import PAD

_FACTOR = 1_000_003
"""A prime: pairs are spread over the buckets by (first × factor + second) modulo their number."""


class Features(nn.Module):
    """Token ids [n, L], or windows [n, W, L], → feature numbers int64 [n, P], one a token and one a pair; 0: none.

    Numbers below `vocabulary` are tokens, those from it on are buckets of pairs. Of windows that overlap every
    token and every pair counts once: the first `overlap` tokens of a window stand in the one before as well.
    """

    def __init__(self, vocabulary: int, buckets: int, overlap: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.buckets = buckets
        self.overlap = overlap
        self.count = vocabulary + buckets

    def forward(self, ids: Tensor) -> Tensor:
        tokens, pairs = ids, self._pairs(ids)
        if ids.dim() == 3:
            tokens, pairs = self._once(tokens, self.overlap), self._once(pairs, max(0, self.overlap - 1))
            tokens, pairs = tokens.flatten(1), pairs.flatten(1)
        return torch.cat([tokens, pairs], dim=1)

    def _pairs(self, ids: Tensor) -> Tensor:
        """[..., L]: the bucket of each token with the next one; 0 for the last one of a stretch."""
        first, second = ids, torch.cat([ids[..., 1:], torch.zeros_like(ids[..., :1])], dim=-1)
        bucket = self.vocabulary + (first * _FACTOR + second) % self.buckets
        return bucket * ((first != PAD) & (second != PAD)).to(ids.dtype)

    def _once(self, numbers: Tensor, repeated: int) -> Tensor:
        """Without the first `repeated` of every window but the first."""
        window = torch.arange(numbers.shape[1], device=numbers.device)[None, :, None]
        place = torch.arange(numbers.shape[2], device=numbers.device)[None, None, :]
        return numbers * ((window == 0) | (place >= repeated)).to(numbers.dtype)


class BagNetwork(nn.Module):
    """Token ids → logits [n, C]: rows of TF-IDF, (1 + ln tf) × idf of length 1, times the coefficients.

    Only the features of a text are touched: each place adds its share of its feature, and a feature that occurs c
    times gets c times a c-th. `idf` [F] and `coefficients` [F, C] are 0 at feature 0.
    """

    idf: Tensor
    coefficients: Tensor
    intercept: Tensor

    def __init__(self, features: Features, idf: Tensor, coefficients: Tensor, intercept: Tensor) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("idf", idf)
        self.register_buffer("coefficients", coefficients)
        self.register_buffer("intercept", intercept)

    def forward(self, ids: Tensor) -> Tensor:
        numbers = self.features(ids)
        there = (numbers != 0).to(torch.float32)
        counts = torch.zeros(ids.shape[0], self.features.count, device=ids.device).scatter_add(1, numbers, there)
        count = counts.gather(1, numbers).clamp(min=1.0)
        weight = (1.0 + torch.log(count)) * self.idf[numbers] * there
        length = (weight * weight / count).sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
        shares = weight / count / length
        logits: Tensor = (shares[:, :, None] * self.coefficients[numbers]).sum(dim=1) + self.intercept
        return logits
