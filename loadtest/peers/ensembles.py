"""The ensembles that every server serves: files on disk, the same for all, and rows to ask them about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from loadtest.peers.networks import averaged, convolutional, perceptron

CLASSES = 10


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Members on disk, fused by their mean. Each takes `x` float32 [n, *shape], gives `probabilities` [n, 10]."""

    name: str
    shape: tuple[int, ...]
    members: Mapping[str, Path]
    merged: Path
    """The same ensemble as one graph, the mean included: what a careful user may make by hand."""

    def rows(self, count: int, seed: int = 0) -> NDArray[np.float32]:
        """float32 [count, *shape], uniform in [0, 1) with four digits: as long in JSON as data that people send."""
        rng = np.random.default_rng(seed)
        return rng.random((count, *self.shape)).round(4).astype(np.float32)


def build(name: str, folder: Path) -> Ensemble:
    """Write the ensemble's files into `folder`; the same bytes each time. KeyError where the name is unknown."""
    shape, members = _ENSEMBLES[name]
    return write(name, shape, members(), folder)


def write(name: str, shape: tuple[int, ...], members: Mapping[str, ModelProto], folder: Path) -> Ensemble:
    """An ensemble of these members, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for member, model in members.items():
        paths[member] = folder / f"{member}.onnx"
        paths[member].write_bytes(model.SerializeToString(deterministic=True))
    merged = folder / "merged.onnx"
    merged.write_bytes(averaged(list(members.values())).SerializeToString(deterministic=True))
    return Ensemble(name, shape, paths, merged)


def _tiny() -> dict[str, ModelProto]:
    """Digits-size, 8 × 8 pixels: a few tens of µs altogether, so that the server is the cost."""
    return {
        "linear": perceptron(64, (), CLASSES, seed=1),
        "narrow": perceptron(64, (64,), CLASSES, seed=2),
        "wide": perceptron(64, (128, 32), CLASSES, seed=3),
    }


def _cnn() -> dict[str, ModelProto]:
    """Four small networks for 32 × 32 images: about 0.4 ms a row each on one core."""
    return {
        f"cnn{number}": convolutional(32, (width, width, 48, 64), (1, 1, 2, 2), CLASSES, seed=10 + number)
        for number, width in enumerate((24, 28, 32, 36))
    }


def _mid() -> dict[str, ModelProto]:
    """Three networks for 224 × 224 images: about 6 ms a row each on one core."""
    return {
        f"mid{number}": convolutional(224, (width, 48, 64, 96, 128), (2, 2, 1, 2, 2), CLASSES, seed=20 + number)
        for number, width in enumerate((24, 32, 40))
    }


_ENSEMBLES = {"tiny": ((64,), _tiny), "cnn": ((3, 32, 32), _cnn), "mid": ((3, 224, 224), _mid)}
NAMES = tuple(_ENSEMBLES)
