"""Convolutions over token embeddings, pooled by their maximum (Kim 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from exporter.networks.text.classifier import Encoder
from exporter.networks.text.masked import PAD, mask_of


class ConvolutionEncoder(Encoder):
    """Filters of several odd widths; outside a text there are zeros, whether they are padding or not."""

    def __init__(self, vocabulary: int, size: int, filters: int, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.width = filters * len(widths)
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.filters = nn.ModuleList(nn.Conv1d(size, filters, width, padding=width // 2) for width in widths)

    def forward(self, ids: Tensor) -> Tensor:
        mask = mask_of(ids)
        embedded = self.dropout(self.embedding(ids) * mask[:, :, None]).transpose(1, 2)
        # Rectified, so that 0 where there is padding never is the maximum of something.
        found = [(torch.relu(convolution(embedded)) * mask[:, None, :]).amax(dim=2) for convolution in self.filters]
        return torch.cat(found, dim=1)
