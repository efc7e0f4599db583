"""Isolation forests (Liu et al. 2008): strange is what a few random cuts set apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array, Rows
from exporter.detectors.spec import DetectorFamily, train_detector
from exporter.families.base import TREES, Count, Setting, Tolerance, Trained
from model_repo.manifest import Kind


class IsolationForest(DetectorFamily, frozen=True, kw_only=True, tag="isolation_forest"):
    """scikit-learn's forest on the features' strongest components; the score is `-score_samples`, 0 to 1."""

    trees: Count = 100
    rows_per_tree: Count = 256
    components: Count = 32
    """Fewer where the rows have fewer features."""

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A detector."""
        from sklearn.ensemble import IsolationForest as Forest

        from exporter.detectors.networks import Components

        def trained(placed: Rows, own: Setting) -> Trained:
            components = Components(placed, own, self.components)
            forest = Forest(
                n_estimators=self.trees,
                max_samples=min(self.rows_per_tree, len(placed)),
                random_state=own.seed,
                n_jobs=1,
            )
            return Isolating(components, forest.fit(components.of(placed)), own)

        return train_detector(trained, rows, setting)


class Isolating:
    """A fitted forest behind its components; a threshold may round to the other side for one row in a thousand."""

    def __init__(self, components: Any, forest: Any, setting: Setting) -> None:
        self.kind: Kind = "value"
        self.tolerance: Tolerance = TREES
        self._components, self._forest = components, forest
        self._inputs: Sequence[Any] = setting.inputs

    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, 1] of the forest itself."""
        x = self._components.of_inputs(inputs)
        score: NDArray[np.float32] = -self._forest.score_samples(x).astype(np.float32)
        return score[:, None]

    def to_onnx(self) -> bytes:
        """The components, then the trees as one node; raises ConversionError."""
        import onnx

        from exporter.conversion.compose import composed
        from exporter.conversion.torch_graph import to_onnx
        from exporter.detectors.isolation_graph import isolation_graph

        front = to_onnx(self._components.eval(), self._inputs, "value", self._components.width)
        back = isolation_graph(self._forest, self._components.width)
        return composed(onnx.load_from_string(front), back, self._inputs, "value", 1)
