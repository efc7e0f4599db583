"""A contrastive embedding, and the neighbours among stored rows: MatMul, TopK, softmax, all in the graph."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.images.families.retrieval import Retrieval
from exporter.images.networks.cnn import convolution
from exporter.images.networks.pixels import Frame, Pixels, frame_of
from exporter.images.networks.trunk import Structure, Trunk
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember, cross_entropy, train_module
from exporter.members.training_loop import Loss

_BATCH_ROWS = 256


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


class TrunkEmbedding(nn.Module):
    """The same by a larger network."""

    def __init__(self, trunk: Trunk, dimensions: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.last = nn.Linear(trunk.features, dimensions)

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.normalize(self.last(self.trunk(image)), dim=1)


class ProxyClassifier(nn.Module):
    """Image → logits [n, C]: cosines to one learned vector per class, by `temperature` (Movshovitz-Attias et al. 2017).

    Only what it embeds with is kept; few epochs bring it further than pairs of rows do.
    """

    def __init__(
        self, embedding: Embedding | TrunkEmbedding, dimensions: int, columns: int, temperature: float
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.proxies = nn.Parameter(torch.randn(dimensions, columns))
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        cosines: Tensor = self.embedding(image) @ nn.functional.normalize(self.proxies, dim=0)
        return cosines / self.temperature


def embedding_of(
    structure: Structure | Literal["shallow"], frame: Frame, rows: Rows, width: int, dimensions: int
) -> Embedding | TrunkEmbedding:
    """An embedding that is not trained yet. Raises TrainingError where the images are too small for the structure."""
    if structure == "shallow":
        return Embedding(frame, width, dimensions)
    return TrunkEmbedding(Trunk(structure, frame, rows, width), dimensions)


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
        self.neighbours, self.temperature = min(neighbours, len(rows)), temperature
        (images,) = rows.inputs.values()
        with torch.no_grad():
            keys = torch.cat([self.embedding(part) for part in torch.split(torch.from_numpy(images), _BATCH_ROWS)])
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


def train_retrieval(spec: Retrieval, rows: Rows, setting: Setting) -> Trained:
    """A member with probabilities. Raises TrainingError where the images are too small for the structure."""
    frame, columns, contrast = frame_of(setting), setting.columns, spec.contrast

    def build() -> Embedding | TrunkEmbedding:
        return embedding_of(spec.structure, frame, rows, spec.width, spec.dimensions)

    def build_with_proxies() -> ProxyClassifier:
        return ProxyClassifier(build(), spec.dimensions, columns, contrast)

    if spec.loss == "proxies":
        trained = train_module(build_with_proxies, rows, setting, spec.training, cross_entropy)
        embedding = trained.get_submodule("embedding")
    else:
        embedding = train_module(build, rows, setting, spec.training, contrastive_loss(contrast))
    index = NeighbourIndex(
        embedding, _kept(rows, spec.keys), setting.columns, spec.neighbours, spec.temperature, spec.smoothing
    )
    return TorchMember(index, setting, "probabilities")


def _kept(rows: Rows, keys: int | None) -> Rows:
    """Evenly spaced rows, as many as are to be in the index."""
    if keys is None or keys >= len(rows):
        return rows
    return rows.take(np.linspace(0, len(rows) - 1, keys).round().astype(np.int64))
