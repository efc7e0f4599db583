"""Convolutions over token embeddings, pooled by their maximum (Kim 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting, Trained
from exporter.text.families.neural import Cnn
from exporter.text.families.training import Reading
from exporter.text.networks.classifier import Encoder
from exporter.text.networks.masked import PAD, mask_of
from exporter.text.networks.member import train_reader


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


def train_cnn(spec: Cnn, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError, also where a width is even."""

    def build(reading: Reading) -> Encoder:
        if even := [width for width in spec.widths if width % 2 == 0]:
            raise TrainingError(f"widths has {even}, expected odd numbers: an even filter has no middle")
        return ConvolutionEncoder(reading.vocabulary, spec.size, spec.filters, spec.widths, spec.dropout)

    return train_reader(spec, build, rows, setting)
