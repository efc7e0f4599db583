"""Linear members on tables: fitted by scikit-learn, answered by one torch layer."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.data.dataset import Array, Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember
from exporter.tables.families.linear import Linear
from exporter.tables.networks.features import DenseFeatures
from exporter.tables.networks.words import train_on_words

_MAX_STEPS = 1000


class LinearModel(nn.Module):
    """Features, then one layer; of two classes the first has the logit 0."""

    def __init__(self, features: nn.Module, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        super().__init__()
        self.features = features
        self.layer = nn.Linear(weights.shape[1], len(weights))
        self.layer.weight = nn.Parameter(torch.from_numpy(weights.astype(np.float32)))
        self.layer.bias = nn.Parameter(torch.from_numpy(bias.astype(np.float32)))

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        found: Tensor = self.layer(self.features(first, second))
        return found


def train_linear(spec: Linear, rows: Rows, setting: Setting) -> Trained:
    """A member with logits, or with a value. Raises TrainingError where it does not converge."""
    return train_on_words(lambda placed, inner: fit_linear(spec, placed, inner), rows, setting)


def fit_linear(spec: Linear, rows: Rows, setting: Setting) -> Trained:
    """On placed categories: logits of a logistic regression (one a label), or the value of a ridge regression."""
    features = DenseFeatures(rows, setting, spec.bins).eval()
    takes = features.columns.takes
    with torch.no_grad():
        x = features(*(torch.from_numpy(rows.inputs[name]) for name in takes)).numpy().astype(np.float64)
    if setting.task == "regression":
        weights, bias = _ridge(x, rows.target, spec.strength)
    elif setting.task == "multilabel":
        weights, bias = _each_label(x, rows.target, spec.strength)
    else:
        weights, bias = _logistic(x, rows.target, spec.strength, setting.columns)
    model = LinearModel(features, weights, bias)
    return TorchMember(model, setting, "value" if setting.task == "regression" else "logits", takes)


def _ridge(x: NDArray[np.float64], y: Array, strength: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.linear_model import Ridge

    found = Ridge(alpha=1 / strength).fit(x, y.astype(np.float64))
    return found.coef_[None, :], np.array([found.intercept_])


def _each_label(x: NDArray[np.float64], y: Array, strength: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A logistic regression of each label for itself; y is 0 or 1, [n, C]."""
    found = [_logistic(x, label, strength, 2) for label in y.T]
    return np.stack([weights[1] for weights, _ in found]), np.array([bias[1] for _, bias in found])


def _logistic(
    x: NDArray[np.float64], y: Array, strength: float, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            found = LogisticRegression(C=strength, max_iter=_MAX_STEPS).fit(x, y)
        except ConvergenceWarning as error:
            raise TrainingError(
                f"the logistic regression with strength {strength:g} has not converged after {_MAX_STEPS} steps; a "
                "smaller strength does sooner"
            ) from error
    if classes == 2:
        nothing = np.zeros_like(found.coef_)
        return np.concatenate([nothing, found.coef_]), np.concatenate([[0.0], found.intercept_])
    return found.coef_, found.intercept_
