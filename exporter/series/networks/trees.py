"""Trees that answer how far the target is from the last value of a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.conversion.compose import summed
from exporter.conversion.torch_graph import to_onnx
from exporter.data.dataset import Array, Rows
from exporter.members.base import TREES, Setting
from exporter.members.feature_trees import FeatureTrees
from exporter.series.families.tree import Tree
from exporter.series.networks.lags import Lags
from exporter.series.networks.level import Last, Moves, difference
from exporter.series.source import WINDOW
from model_repo.format.manifest import Kind


class TreesOnMoves:
    """The last value plus what the trees answer."""

    kind: Kind = "value"
    tolerance = TREES

    def __init__(self, trees: FeatureTrees, setting: Setting) -> None:
        self._trees, self._setting = trees, setting
        self._last = Last(setting).eval()

    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, 1]."""
        last = self._last(torch.from_numpy(inputs[WINDOW])).numpy()
        found: NDArray[np.float32] = self._trees.predict(inputs) + last
        return found

    def to_onnx(self) -> bytes:
        """Features, trees and the sum as one graph; raises ConversionError."""
        inputs = (self._setting.input(WINDOW),)
        return summed(self._trees.to_onnx(), to_onnx(self._last, inputs, "value", 1), inputs)


def train_trees(spec: Tree, rows: Rows, setting: Setting) -> TreesOnMoves:
    """Fitted for the absolute error of the move."""
    from lightgbm import LGBMRegressor

    features = Lags(Moves(rows, setting, spec.series), spec.lags)
    estimator = LGBMRegressor(
        objective="regression_l1", n_estimators=spec.trees, num_leaves=spec.leaves, learning_rate=spec.learning_rate,
        min_child_samples=spec.leaf_rows, reg_lambda=spec.ridge,
        colsample_bytree=spec.columns, subsample=spec.rows, subsample_freq=1,
        n_jobs=1, random_state=setting.seed, deterministic=True, force_row_wise=True, verbose=-1,
    )  # fmt: skip
    trees = FeatureTrees(features, estimator, setting, (WINDOW,))
    trees.fit(replace(rows, target=difference(rows, setting)))
    return TreesOnMoves(trees, setting)
