"""A forest behind smoothed features: both as one graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.conversion.compose import features_then_trees
from exporter.data.dataset import Array, Rows
from exporter.errors import TrainingError
from exporter.graphs.families.tree import Tree
from exporter.graphs.networks.answers import NodeAnswers
from exporter.graphs.networks.smoothing import fit_projection
from exporter.graphs.networks.structure import TAKES, labelled
from exporter.members.base import TREES, Setting
from model_repo.format.manifest import Kind


class ForestMember:
    """A scikit-learn forest on a module's [n, D]; its answers are probabilities."""

    kind: Kind = "probabilities"
    tolerance = TREES

    def __init__(self, features: NodeAnswers, forest: Any, setting: Setting) -> None:
        self._features, self._forest = features.eval(), forest
        self._inputs = tuple(setting.input(name) for name in TAKES)
        self._columns = setting.columns

    @torch.no_grad()
    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C] of the forest itself."""
        flat = self._features(*(torch.from_numpy(inputs[name]) for name in TAKES)).numpy()
        found: NDArray[np.float32] = self._forest.predict_proba(flat).astype(np.float32)
        return found

    def to_onnx(self) -> bytes:
        """Smoothing, then the trees; raises ConversionError."""
        width = self._features.answers.shape[1]
        return features_then_trees(self._features, self._forest, self._inputs, width, self.kind, self._columns)


def train_forest(spec: Tree, rows: Rows, setting: Setting) -> ForestMember:
    """The forest on the labelled nodes. Raises TrainingError where a class has none: its column would be missing."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    node, target = labelled(rows)
    if len(found := np.unique(target)) < setting.columns:
        raise TrainingError(f"the rows have {len(found)} of {setting.columns} classes, trees need all of them")
    features = fit_projection(spec, setting)
    forest = {"extra_trees": ExtraTreesClassifier, "random_forest": RandomForestClassifier}[spec.algorithm](
        n_estimators=spec.trees, random_state=setting.seed, n_jobs=1
    )
    forest.fit(features.answers.numpy()[node], target)
    return ForestMember(features, forest, setting)
