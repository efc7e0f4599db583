"""Trees of labels that do not exclude each other, as one estimator and one graph with a probability for each."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from exporter.conversion.side_by_side import side_by_side
from exporter.conversion.tree_graph import PROBABILITIES, VALUE, tree_graph
from exporter.data.dataset import Array


class LabelForest:
    """A forest of regressors on 0 and 1, all labels in each tree: the mean of a leaf is the share that has a label.

    Just what a forest of classifiers would give, whose impurity is twice the variance; and one graph.
    """

    def __init__(self, forest: Any) -> None:
        self._forest = forest

    def fit(self, x: NDArray[np.float32], y: Array) -> LabelForest:
        """Fitted to rows [n, features] and labels [n, C]."""
        self._forest.fit(x, y.astype(np.float64))
        return self

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities float64 [n, C]."""
        found: NDArray[np.float64] = self._forest.predict(x)
        return found

    def as_tree_graph(self, features: int) -> ModelProto:
        """As `tree_graph`'s, with `probabilities` [n, C]. Raises ConversionError."""
        model = tree_graph(self._forest, features)
        for node in model.graph.node:
            node.output[:] = [PROBABILITIES if name == VALUE else name for name in node.output]
        model.graph.output[0].name = PROBABILITIES
        return model


class BoostedLabels:
    """A boosted classifier of each label for itself."""

    def __init__(self, one: Any) -> None:
        self._one = one
        self._each: list[Any] = []

    def fit(self, x: NDArray[np.float32], y: Array) -> BoostedLabels:
        """Fitted to rows [n, features] and labels [n, C], each of which holds in some rows and not in others."""
        self._each = [deepcopy(self._one).fit(x, label) for label in y.T]
        return self

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities float64 [n, C]."""
        return np.stack([each.predict_proba(x)[:, 1] for each in self._each], axis=1)

    def as_tree_graph(self, features: int) -> ModelProto:
        """As `tree_graph`'s, with `probabilities` [n, C]. Raises ConversionError."""
        parts = [tree_graph(each, features) for each in self._each]
        return side_by_side(parts, [PROBABILITIES] * len(parts), PROBABILITIES, column=1)
