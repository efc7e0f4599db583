"""Where a node is in the graph, without its features: embeddings with a cold start, and labels that spread."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.graphs.families.embedding import Embedding
from exporter.graphs.families.propagation import Propagation
from exporter.graphs.networks.answers import NodeAnswers, averages, gathered
from exporter.graphs.networks.smoothing import logistic
from exporter.graphs.networks.structure import TAKES, Structure, labelled
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember

Floats = NDArray[np.float64]

MOST_DENSE_NODES = 1 << 13
"""Of a dense N × N matrix: 512 MB of float64."""


class _EmbeddingNewcomer(nn.Module):
    """The mean of the neighbours' rows, of length 1; without neighbours the cold start's row."""

    table: Tensor
    cold: Tensor

    def __init__(self, table: NDArray[np.float32], cold: NDArray[np.float32], head: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("table", torch.from_numpy(table))
        self.register_buffer("cold", torch.from_numpy(cold))
        self.head = head

    def forward(self, x: Tensor, place: Tensor, weight: Tensor) -> Tensor:
        row = nn.functional.normalize(gathered(self.table, place, averages(weight)), dim=1)
        alone = weight.sum(dim=1, keepdim=True) < 0.5
        found: Tensor = self.head(torch.where(alone, self.cold, row))
        return found


class _PropagationNewcomer(nn.Module):
    """The mean of the neighbours' probabilities and of the training rows', which is all there is without neighbours."""

    table: Tensor
    prior: Tensor

    def __init__(self, table: Tensor, prior: Tensor, doubt: float) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.register_buffer("prior", prior)
        self.doubt = doubt

    def forward(self, x: Tensor, place: Tensor, weight: Tensor) -> Tensor:
        return settled(gathered(self.table, place, averages(weight)), self.prior, self.doubt)


def settled(mass: Tensor, prior: Tensor, doubt: float) -> Tensor:
    """Probabilities [n, C] of label mass [n, C], 0 or more, with `doubt` of the prior's mass beside it."""
    found = mass + doubt * prior
    return found / found.sum(dim=1, keepdim=True)


def fit_embedding(spec: Embedding, rows: Rows, setting: Setting) -> NodeAnswers:
    """Rows of length 1 for all nodes, and a logistic regression on those of the labelled ones, as logits."""
    known = Structure.of(setting)
    table = embedded(spec, known, setting.seed)
    node, target = labelled(rows)
    classes, weight, bias = logistic(table[node], target, spec.inverse_penalty)
    head = nn.Linear(table.shape[1], setting.columns)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-20.0)  # a class that no row has
        head.weight[classes] = torch.from_numpy(weight).float()
        head.bias[classes] = torch.from_numpy(bias).float()
        answers = head(torch.from_numpy(table))
    cold = table[known.degrees > 0].mean(axis=0, keepdims=True) if (known.degrees > 0).any() else table[:1] * 0
    return NodeAnswers(answers, _EmbeddingNewcomer(table, cold.astype(np.float32), head))


def embedded(spec: Embedding, known: Structure, seed: int) -> NDArray[np.float32]:
    """float32 [N, D], each row of length 1, or 0 for a node without neighbours. Raises TrainingError."""
    count = min(spec.dimensions, known.nodes - 2)
    if count < 1:
        raise TrainingError(f"the graph has {known.nodes} nodes, an embedding needs at least 3")
    found = _walks(spec, known, count, seed) if spec.method == "walks" else _spectrum(known, count, seed)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.where(length > 1e-9, found / np.maximum(length, 1e-9), 0.0).astype(np.float32)


def _walks(spec: Embedding, known: Structure, count: int, seed: int) -> Floats:
    """What DeepWalk's random walks tend to, factorised (Qiu et al. 2018: NetMF): ln of the mean of P^1 … P^T."""
    from sklearn.utils.extmath import randomized_svd

    if known.nodes > MOST_DENSE_NODES:
        raise TrainingError(f"{known.nodes} nodes are too many for walks, at most {MOST_DENSE_NODES}: use spectral")
    step = known.averaging()
    total, power = np.zeros((known.nodes, known.nodes), dtype=np.float32), np.eye(known.nodes, dtype=np.float32)
    for _ in range(spec.window):
        power = step @ power
        total += power
    volume = float(known.degrees.sum())
    seen = total * (volume / spec.window) / np.maximum(known.degrees, 1.0)[None]
    left, values, _ = randomized_svd(np.log(np.maximum(seen, 1.0)), count, random_state=seed)
    found: Floats = left * np.sqrt(values)
    return found


def _spectrum(known: Structure, count: int, seed: int) -> Floats:
    """The leading eigenvectors of D^-½ (A + I) D^-½, each times the fourth power of its eigenvalue."""
    from scipy.sparse.linalg import eigsh

    start = np.random.default_rng(seed).normal(size=known.nodes)
    values, vectors = eigsh(known.symmetric().astype(np.float64), k=count, which="LA", v0=start)
    found: Floats = vectors * np.maximum(values, 0.0) ** 4
    return found


def fit_propagation(spec: Propagation, rows: Rows, setting: Setting) -> NodeAnswers:
    """Labels spread over the edges (Zhou et al. 2004), as probabilities; nothing is learned but where they are."""
    known = Structure.of(setting)
    node, target = labelled(rows)
    start = np.zeros((known.nodes, setting.columns), dtype=np.float32)
    start[node, target] = 1.0
    spread, mass = known.symmetric(), start
    for _ in range(spec.steps):
        mass = spec.share * (spread @ mass) + (1 - spec.share) * start
    prior = torch.from_numpy(start.sum(axis=0) / len(node))[None]
    table = torch.from_numpy(np.asarray(mass, dtype=np.float32))
    return NodeAnswers(settled(table, prior, spec.doubt), _PropagationNewcomer(table, prior, spec.doubt))


def train_embedding(spec: Embedding, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError where walks have too many nodes."""
    return TorchMember(fit_embedding(spec, rows, setting), setting, "logits", TAKES)


def train_propagation(spec: Propagation, rows: Rows, setting: Setting) -> Trained:
    """A member with probabilities."""
    return TorchMember(fit_propagation(spec, rows, setting), setting, "probabilities", TAKES)
