"""A small vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.networks.image.pixels import Frame, Pixels


class VisionTransformer(nn.Module):
    """Image → logits [n, C]: a convolution, square patches, pre-norm encoder layers, mean over the patches."""

    def __init__(
        self, frame: Frame, columns: int, patch: int, width: int, heads: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        if frame.height % patch or frame.width % patch:
            raise TrainingError(f"patch is {patch}, which does not divide {frame.width} × {frame.height}")
        if width % heads:
            raise TrainingError(f"width is {width}, which is no multiple of heads, {heads}")
        self.stem = nn.Sequential(
            Pixels(frame),
            nn.Conv2d(frame.channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, patch, stride=patch),
        )
        patches = (frame.height // patch) * (frame.width // patch)
        self.position = nn.Parameter(torch.randn(1, patches, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, columns))

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.stem(image).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.head(self.encoder(tokens).mean(dim=1))
        return logits
