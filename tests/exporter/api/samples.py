"""Rows of three classes and ONNX members of known quality, a few hundred bytes each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests import graphs

CLASSES = ("ant", "bee", "cat")
W = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)


def rows(count: int = 400, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features float32 [n, 4] and classes drawn from softmax(2 x W)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    z = np.exp(2 * x @ W)
    p = z / z.sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < rng.random(count)[:, None]).sum(axis=1)
    return x, np.minimum(y, 2).astype(np.int64)


def noisy(noise: float, seed: int) -> NDArray[np.float32]:
    """Weights near the true ones."""
    found: NDArray[np.float32] = W + np.random.default_rng(seed).normal(0, noise, W.shape).astype(np.float32)
    return found


def member(folder: Path, name: str, weights: NDArray[np.float32], *, logits: bool = False) -> str:
    """The path of an ONNX file with these weights [4, C]; it takes `x` and states no classes."""
    path = folder / f"{name}.onnx"
    path.write_bytes(graphs.linear(weights) if logits else graphs.softmax_linear(weights))
    return str(path)
