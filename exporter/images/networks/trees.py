"""Members that are tree ensembles of scikit-learn or LightGBM: trained, answering, converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.conversion.tree_graph import forest_to_onnx, lightgbm_to_onnx
from exporter.data.dataset import Array, Rows
from exporter.images.families.tree import Tree
from exporter.images.networks.pixels import Frame, frame_of
from exporter.members.base import TREES, Setting
from exporter.members.distortion import distorted
from exporter.members.tree_estimator import tree_classifier, tree_probabilities
from model_repo.format.manifest import Kind


class TreeMember:
    """An estimator with `predict_proba` on flattened pixels; its answers are probabilities."""

    kind: Kind = "probabilities"
    tolerance = TREES

    def __init__(self, estimator: Any, frame: Frame, setting: Setting, algorithm: str) -> None:
        self._estimator, self._frame, self._setting, self._algorithm = estimator, frame, setting, algorithm

    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C] of the estimator itself."""
        found: NDArray[np.float32] = tree_probabilities(self._estimator, flat(inputs[self._frame.name]))
        return found

    def to_onnx(self) -> bytes:
        """Reshape, then the trees; raises ConversionError."""
        convert = lightgbm_to_onnx if self._algorithm == "lightgbm" else forest_to_onnx
        return convert(self._estimator, self._frame.size, self._setting.inputs[0], self._setting.columns)


def train_trees(spec: Tree, rows: Rows, setting: Setting) -> TreeMember:
    """Trees on float32 pixels: thresholds learned from float64 move rows when ONNX compares in float32."""
    frame = frame_of(setting)
    images, target = with_copies(spec, rows.inputs[frame.name], rows.target, setting.seed)
    estimator = tree_classifier(spec, setting.seed, columns_per_tree=0.4)
    estimator.fit(flat(images), target)
    return TreeMember(estimator, frame, setting, spec.algorithm)


def flat(images: Array) -> NDArray[np.float32]:
    """[n, …] as contiguous float32 [n, pixels]."""
    return np.ascontiguousarray(images.reshape(len(images), -1), dtype=np.float32)


def with_copies(spec: Tree, images: Array, target: Array, seed: int) -> tuple[Array, Array]:
    """The images, then `copies` distorted ones of each; and their targets."""
    generator = torch.Generator().manual_seed(seed)
    original = torch.from_numpy(images)
    copies = [distorted(original, spec.augmentation, generator) for _ in range(spec.copies)]
    return torch.cat([original, *copies]).numpy(), np.tile(target, spec.copies + 1)
