"""Rows that no ensemble was made for: what detectors are measured with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array


def permuted(inputs: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Each number, or category, of a row taken from another row: every one is usual, together they are not."""
    rng = np.random.default_rng([seed, 1])
    return {name: _shuffled(array, rng) for name, array in inputs.items()}


def random_rows(inputs: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Numbers drawn evenly between the least and the greatest of their tensor; categories from any row and column."""
    rng = np.random.default_rng([seed, 2])
    return {name: _drawn(array, rng) for name, array in inputs.items()}


def auroc(usual: NDArray[np.floating], strange: NDArray[np.floating]) -> float:
    """The chance that a strange row has the larger score than a usual one; equal ones count half."""
    scores = np.concatenate([usual, strange]).astype(np.float64)
    distinct, places = np.unique(scores, return_inverse=True)
    ends = np.cumsum(np.bincount(places, minlength=len(distinct)))
    ranks = (np.concatenate([[0], ends[:-1]]) + 1 + ends)[places] / 2.0
    above = ranks[len(usual) :].sum() - len(strange) * (len(strange) + 1) / 2.0
    return float(above / (len(usual) * len(strange)))


def _shuffled(array: Array, rng: np.random.Generator) -> Array:
    flat = array.reshape(len(array), -1)
    order = np.argsort(rng.random(flat.shape), axis=0)
    return np.take_along_axis(flat, order, axis=0).reshape(array.shape)


def _drawn(array: Array, rng: np.random.Generator) -> Array:
    if array.dtype == np.object_:
        return rng.permutation(array.ravel()).reshape(array.shape)
    if array.dtype.kind in "iub":
        return rng.integers(array.min(), array.max(), array.shape, endpoint=True).astype(array.dtype)
    known = array[np.isfinite(array)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return rng.uniform(low, high, array.shape).astype(array.dtype)
