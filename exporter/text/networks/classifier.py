"""What all text networks have in common: an encoder of one stretch of tokens, pooling over windows, and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.text.networks.masked import attended, mask_of, max_of


class Encoder(nn.Module):
    """int64 [m, L] → float32 [m, width]: one stretch of tokens as features."""

    width: int
    embedding: nn.Embedding
    vector_scale = 0.5
    """Standard deviation of the vectors that it begins with."""

    @torch.no_grad()
    def begin_with(self, vectors: Tensor) -> None:
        """Take the first directions of vectors [vocabulary, d] for the tokens that have one."""
        size = min(vectors.shape[1], self.embedding.embedding_dim)
        known = vectors.abs().sum(dim=1) > 0
        self.embedding.weight[known, :size] = vectors[known, :size] * self.vector_scale


class Classifier(nn.Module):
    """Token ids [n, L], or windows of them [n, W, L], → logits [n, C].

    Windows are encoded each for itself and pooled: attention over those that hold a token, beside their maximum.
    """

    def __init__(self, encoder: Encoder, columns: int, dropout: float, *, windows: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.score = nn.Linear(encoder.width, 1) if windows else None
        width = encoder.width * (2 if windows else 1)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, columns))

    def forward(self, ids: Tensor) -> Tensor:
        features: Tensor = self.encoder(ids) if self.score is None else self._pooled(ids)
        logits: Tensor = self.head(features)
        return logits

    def _pooled(self, ids: Tensor) -> Tensor:
        assert self.score is not None, "only windows are pooled; this is a bug"
        n, windows, length = ids.shape
        encoded = self.encoder(ids.reshape(n * windows, length)).reshape(n, windows, self.encoder.width)
        mask = mask_of(ids).amax(dim=2)
        return torch.cat([attended(encoded, self.score(encoded)[:, :, 0], mask), max_of(encoded, mask)], dim=1)
