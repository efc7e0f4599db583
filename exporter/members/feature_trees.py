"""Members that are estimators of scikit-learn or LightGBM on features that a torch module makes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from exporter.conversion.compose import features_then_trees
from exporter.data.dataset import Array, Rows
from exporter.members.base import TREES, Setting, Tolerance
from model_repo.format.manifest import Kind

_BATCH_ROWS = 1024


class FeatureTrees:
    """`features` maps the tensors named in `takes` to float32 [n, width]; the estimator answers those.

    A classifier's answers are probabilities, a regressor's one value; of labels `predict` gives the probability of
    each. Fitted on the very features that the graph
    computes, in float32.
    """

    def __init__(
        self, features: nn.Module, estimator: Any, setting: Setting, takes: Sequence[str], tolerance: Tolerance = TREES
    ) -> None:
        self.kind: Kind = "value" if setting.task == "regression" else "probabilities"
        self.tolerance = tolerance
        self._features = features.eval()
        self._estimator = estimator
        self._inputs = tuple(setting.input(name) for name in takes)
        self._columns = setting.columns
        self._predicts = setting.task != "classification"
        self._width = 0

    def fit(self, rows: Rows) -> FeatureTrees:
        """This member, fitted to the rows."""
        x = self._made(rows.inputs)
        self._width = x.shape[1]
        self._estimator.fit(x, rows.target)
        return self

    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C] of the estimator itself."""
        x = self._made(inputs)
        with warnings.catch_warnings():
            # LightGBM names its own features and scikit-learn then misses the names in plain arrays.
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            if self._predicts:
                values: NDArray[np.float32] = self._estimator.predict(x).astype(np.float32)
                return values.reshape(len(x), -1)
            found: NDArray[np.float32] = self._estimator.predict_proba(x).astype(np.float32)
        return found

    def to_onnx(self) -> bytes:
        """The features, then the trees; raises ConversionError."""
        return features_then_trees(self._features, self._estimator, self._inputs, self._width, self.kind, self._columns)

    @torch.no_grad()
    def _made(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        tensors = [torch.from_numpy(inputs[entry.name]) for entry in self._inputs]
        chunks = zip(*(torch.split(tensor, _BATCH_ROWS) for tensor in tensors), strict=True)
        found: NDArray[np.float32] = torch.cat([self._features(*chunk) for chunk in chunks]).numpy()
        return found
