"""A contrastive embedding, and the neighbours among stored rows: MatMul, TopK, softmax, all in the graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.networks.image.cnn import convolution
from exporter.networks.image.pixels import Frame, Pixels
from exporter.training import Loss


class Embedding(nn.Module):
    """Image → [n, dimensions] of length 1."""

    def __init__(self, frame: Frame, width: int, dimensions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Pixels(frame),
            *convolution(frame.channels, width),
            nn.MaxPool2d(2),
            *convolution(width, 2 * width),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * (frame.height // 4) * (frame.width // 4), dimensions),
        )

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.normalize(self.layers(image), dim=1)


class NeighbourIndex(nn.Module):
    """Image → probabilities [n, C]: votes of the most similar stored rows, weighted by softmax(cosine / t).

    `smoothing` of the answer is spread evenly over the classes.
    """

    keys: Tensor
    votes: Tensor

    def __init__(
        self, embedding: nn.Module, rows: Rows, columns: int, neighbours: int, temperature: float, smoothing: float
    ) -> None:
        super().__init__()
        self.embedding = embedding.cpu().eval()
        self.neighbours, self.temperature = neighbours, temperature
        (images,) = rows.inputs.values()
        with torch.no_grad():
            keys = torch.cat([self.embedding(part) for part in torch.split(torch.from_numpy(images), 256)])
        self.register_buffer("keys", keys.T.contiguous())
        votes = nn.functional.one_hot(torch.from_numpy(rows.target), columns).float()
        self.register_buffer("votes", votes * (1 - smoothing) + smoothing / columns)

    def forward(self, image: Tensor) -> Tensor:
        cosine, place = torch.topk(self.embedding(image) @ self.keys, self.neighbours, dim=1)
        weight = torch.softmax(cosine / self.temperature, dim=1)
        return (weight[:, :, None] * self.votes[place]).sum(dim=1)


def contrastive_loss(temperature: float) -> Loss:
    """Supervised contrastive loss (Khosla et al. 2020) of unit vectors [n, d] with classes [n]."""

    def loss(embedded: Tensor, target: Tensor) -> Tensor:
        itself = torch.eye(len(target), device=embedded.device, dtype=torch.bool)
        similarity = (embedded @ embedded.T / temperature).masked_fill(itself, -torch.inf)
        same = (target[:, None] == target[None]) & ~itself
        log_share = similarity.log_softmax(dim=1).masked_fill(~same, 0.0)
        return -(log_share.sum(dim=1) / same.sum(dim=1).clamp(min=1)).mean()

    return loss
