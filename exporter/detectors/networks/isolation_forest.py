"""Isolation forests behind components; both as one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.conversion.compose import composed
from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Array, Rows
from exporter.detectors.isolation_forest import IsolationForest
from exporter.detectors.networks.components import Components
from exporter.detectors.networks.isolation_graph import isolation_graph
from exporter.detectors.networks.training import train_detector
from exporter.members.base import TREES, Setting, Tolerance, Trained
from model_repo.format.manifest import Kind


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
        front = to_onnx(self._components.eval(), self._inputs, "value", self._components.width)
        back = isolation_graph(self._forest, self._components.width)
        return composed(onnx.load_from_string(front), back, self._inputs, "value", 1)


def train_isolation_forest(spec: IsolationForest, rows: Rows, setting: Setting) -> Trained:
    """A detector."""
    from sklearn.ensemble import IsolationForest as Forest

    def trained(placed: Rows, own: Setting) -> Trained:
        components = Components(placed, own, spec.components)
        forest = Forest(
            n_estimators=spec.trees,
            max_samples=min(spec.rows_per_tree, len(placed)),
            random_state=own.seed,
            n_jobs=1,
        )
        return Isolating(components, forest.fit(components.of(placed)), own)

    return train_detector(trained, rows, setting)
