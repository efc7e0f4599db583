"""The classification extension: the best classes of each row as `value:index:label` strings."""

from __future__ import annotations

import numpy as np

from server.http.codec.declared import WantedOutput
from server.http.codec.tensors import Array, object_array

LABELLED = frozenset({"probabilities", "scores", "conformal_set", "labels", "agreement", "entropy"})
"""Outputs that have a number for each class: all of a classification but the last two, which only labels have each."""


def best(array: Array, wanted: WantedOutput, classes: tuple[str, ...]) -> Array:
    """Object array `[n, k]` of strings, best first; an equal value keeps the lower index first.

    `array` is `[n, …]`; everything behind the rows is one list of values, as in Triton. k is at most its length.
    """
    flat = array.reshape(array.shape[0], -1)
    labels = classes if wanted.tensor.name in LABELLED and flat.shape[1] == len(classes) else ()
    k = min(wanted.classes, flat.shape[1])
    keys = -flat.astype(np.float64, copy=False)
    order = np.argsort(keys, axis=1, kind="stable")[:, :k]
    strings = [
        f"{value}:{index}:{labels[index]}" if labels else f"{value}:{index}"
        for values, indices in zip(_values(flat, order), order.tolist(), strict=True)
        for value, index in zip(values, indices, strict=True)
    ]
    return object_array(strings).reshape(array.shape[0], k)


def _values(flat: Array, order: Array) -> list[list[str]]:
    """The chosen values as text; numpy writes the shortest digits that read back as the same float32."""
    chosen = np.take_along_axis(flat, order, axis=1)
    return [list(map(str, row)) for row in chosen]
