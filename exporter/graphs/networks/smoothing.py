"""Features smoothed over the graph: the mean of a node's surroundings, for known nodes and for new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.graphs.families.linear import Linear
from exporter.graphs.families.tree import Tree
from exporter.graphs.networks.answers import NodeAnswers, gathered
from exporter.graphs.networks.structure import TAKES, Structure, labelled
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember

_OVERSAMPLED = 10
"""Directions beyond those asked for in the randomised decomposition (scikit-learn's default)."""


class SmoothedNewcomer(nn.Module):
    """x [n, F] and its neighbours → [n, D]: what `levels[-1]` would be for it, beside the known nodes.

    `levels` are float32 [N, D] after 0, 1, … steps of D^-½ (A + I) D^-½ on features times `projection` [F, D].
    """

    root: Tensor
    projection: Tensor

    def __init__(self, levels: list[NDArray[np.float32]], projection: NDArray[np.float32], known: Structure) -> None:
        super().__init__()
        self.register_buffer("projection", torch.from_numpy(projection))
        self.register_buffer("root", torch.from_numpy(known.degrees + 1.0).rsqrt())
        self.levels = nn.ParameterList(
            nn.Parameter(torch.from_numpy(level), requires_grad=False) for level in levels[:-1]
        )

    def forward(self, x: Tensor, place: Tensor, weight: Tensor) -> Tensor:
        degree = weight.sum(dim=1, keepdim=True) + 1.0
        near = weight * self.root[place] * degree.rsqrt()
        found = x @ self.projection
        for level in self.levels:
            found = found / degree + gathered(level, place, near)
        return found


class Shifted(nn.Module):
    """What another module gives, and a bias [D]."""

    bias: Tensor

    def __init__(self, module: nn.Module, bias: NDArray[np.float32]) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("bias", torch.from_numpy(bias))

    def forward(self, x: Tensor, place: Tensor, weight: Tensor) -> Tensor:
        found: Tensor = self.module(x, place, weight) + self.bias
        return found


def fit_linear(spec: Linear, rows: Rows, setting: Setting) -> NodeAnswers:
    """Logistic regression on smoothed features (Wu et al. 2019: SGC), as logits. It is linear, so the logits of the
    features are smoothed, not the features: tables of C columns, not F."""
    known = Structure.of(setting)
    node, target = labelled(rows)
    classes, weight, bias = logistic(_smoothed_rows(known, spec.steps, node), target, spec.inverse_penalty)
    projection = np.zeros((known.features.shape[1], setting.columns), dtype=np.float32)
    shift = np.full(setting.columns, -20.0, dtype=np.float32)  # a class that no row has
    projection[:, classes], shift[classes] = weight.T, bias
    levels = _levels(known, known.features @ projection, spec.steps)
    newcomer = Shifted(SmoothedNewcomer(levels, projection, known), shift)
    return NodeAnswers(torch.from_numpy(levels[-1] + shift), newcomer)


def fit_projection(spec: Tree, setting: Setting) -> NodeAnswers:
    """[n, D]: the principal directions of all nodes' smoothed features, which need no label."""
    from sklearn.utils.extmath import randomized_svd

    known = Structure.of(setting)
    matrix = known.features
    for _ in range(spec.steps):
        matrix = known.symmetric() @ matrix
    count = min(spec.dimensions, *matrix.shape)
    _, _, directions = randomized_svd(matrix, count, n_oversamples=_OVERSAMPLED, random_state=setting.seed)
    projection = np.ascontiguousarray(directions.T, dtype=np.float32)
    levels = _levels(known, known.features @ projection, spec.steps)
    return NodeAnswers(torch.from_numpy(levels[-1]), SmoothedNewcomer(levels, projection, known))


def logistic(x: NDArray[Any], y: NDArray[np.int64], inverse_penalty: float) -> tuple[Any, Any, Any]:
    """Classes [K] of logistic regression, weights [K, D] and biases [K] of their logits."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_penalty, max_iter=2000).fit(x, y)
    if len(model.classes_) == 2:  # one logit of the second class: half of it for and half against
        half = np.concatenate([-model.coef_, model.coef_]) / 2
        return model.classes_, half, np.concatenate([-model.intercept_, model.intercept_]) / 2
    return model.classes_, model.coef_, model.intercept_


def _smoothed_rows(known: Structure, steps: int, node: NDArray[np.int64]) -> NDArray[np.float32]:
    """Smoothed features of some nodes, float32 [n, F]: from the rows' side, so that no [N, F] table is made."""
    spread = known.symmetric()
    found = spread[node]
    for _ in range(steps - 1):
        found = found @ spread
    rows: NDArray[np.float32] = (found @ known.features if steps else known.features[node]).toarray()
    return rows


def _levels(known: Structure, start: NDArray[np.float32], steps: int) -> list[NDArray[np.float32]]:
    spread = known.symmetric()
    found = [np.asarray(start, dtype=np.float32)]
    for _ in range(steps):
        found.append(np.asarray(spread @ found[-1], dtype=np.float32))
    return found


def train_linear(spec: Linear, rows: Rows, setting: Setting) -> Trained:
    """A member with logits."""
    return TorchMember(fit_linear(spec, rows, setting), setting, "logits", TAKES)
