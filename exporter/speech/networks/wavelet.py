"""Members that are trees on scattering features: trained, answering, converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from exporter.conversion.compose import composed
from exporter.conversion.torch_graph import to_onnx
from exporter.conversion.tree_graph import tree_graph
from exporter.data.dataset import Array, Rows
from exporter.gate.inference import Graph
from exporter.members.base import TREES, Setting
from exporter.members.tree_estimator import tree_classifier, tree_probabilities
from exporter.speech.families.spec import sample_rate
from exporter.speech.families.wavelet import SoundWavelet
from exporter.speech.networks.fitting import Clips, distorted
from exporter.speech.networks.member import EXAMPLE_SAMPLES
from exporter.speech.networks.scattering import Scattering
from exporter.speech.source import INPUT
from model_repo.format.manifest import Kind

_BATCH_ROWS = 32
_KIND: Kind = "value"
"""What the graph of the features calls its output."""


class Features:
    """Scattering features by the very graph that is served, from the training on.

    torch rounds otherwise than onnxruntime (by up to 1e-5), and a threshold cannot stand that: trees that were fitted
    to torch's features answered some rows by another branch, which changed the log-loss by 0.0009.
    """

    def __init__(self, module: Scattering, setting: Setting) -> None:
        self.width = module.size
        self.onnx = to_onnx(module.eval(), [setting.input(INPUT)], _KIND, self.width, EXAMPLE_SAMPLES)
        self._graph = Graph(self.onnx)

    def __call__(self, audio: Array) -> NDArray[np.float32]:
        """float32 [n, width] of audio [n, T], some rows at a time: wavelets of many bands on long clips take room."""
        return self._graph.in_batches({INPUT: audio}, _BATCH_ROWS)


class WaveletMember:
    """Scattering features, and an estimator with `predict_proba` on them; its answers are probabilities."""

    kind: Kind = "probabilities"
    tolerance = TREES

    def __init__(self, features: Features, estimator: Any, setting: Setting) -> None:
        self._features, self._estimator, self._setting = features, estimator, setting

    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C] of the graph's features and the estimator itself."""
        found: NDArray[np.float32] = tree_probabilities(self._estimator, self._features(inputs[INPUT]))
        return found

    def to_onnx(self) -> bytes:
        """Scattering, then the trees; raises ConversionError."""
        inputs, trees = [self._setting.input(INPUT)], tree_graph(self._estimator, self._features.width)
        front = onnx.load_from_string(self._features.onnx)
        return composed(front, trees, inputs, self.kind, self._setting.columns)


def train_wavelet(spec: SoundWavelet, rows: Rows, setting: Setting) -> WaveletMember:
    """Trees on the float32 features of the rows and of their distorted copies."""
    features = Features(Scattering(sample_rate(setting), spec.segments, spec.parts), setting)
    clips = Clips(rows)
    generator = torch.Generator().manual_seed(setting.seed)
    # By length, so that a batch is little padding.
    order = clips.length.argsort(stable=True)
    x, y = [], []
    for index in torch.split(order, _BATCH_ROWS):
        audio, length, target = clips.taken(index)
        copies = [distorted(audio, length, spec.distortion, generator)[0] for _ in range(spec.copies)]
        x += [features(part.numpy()) for part in (audio, *copies)]
        y += [target.numpy()] * (spec.copies + 1)
    estimator = tree_classifier(spec, setting.seed, columns_per_tree=0.2)
    estimator.fit(np.concatenate(x), np.concatenate(y))
    return WaveletMember(features, estimator, setting)
