"""A small graph of three topics: edges mostly within a topic, words mostly of it; and Planetoid's files of it."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NODES, WORDS, TOPICS = 90, 24, 3
ISOLATED = 89
"""A node without edges or label."""

Arrays = dict[str, NDArray[Any]]


def graph(seed: int = 0) -> Arrays:
    """The arrays of an .npz: 10 labelled nodes per topic to fit, 20 for the fusion, 30 to test."""
    random = np.random.default_rng(seed)
    labels = np.arange(NODES) % TOPICS
    words = (random.random((NODES, WORDS)) < np.where(np.arange(WORDS) % TOPICS == labels[:, None], 0.35, 0.1)) * 1.0
    same = labels[:, None] == labels[None]
    joined = np.triu(random.random((NODES, NODES)) < np.where(same, 0.15, 0.01), 1)
    joined[:, ISOLATED] = False
    labels[ISOLATED] = -1
    place = np.arange(NODES)
    return {
        "x": words.astype(np.float32),
        "labels": labels.astype(np.int16),
        "edge_index": np.stack(np.nonzero(joined)).astype(np.int32),
        "train_mask": place < 30,
        "val_mask": (place >= 30) & (place < 50),
        "test_mask": (place >= 55) & (place < 85),
    }


def write(folder: Path, arrays: Arrays, name: str = "small") -> Path:
    np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)
    return folder


def write_pickle(path: Path, found: object) -> None:
    """Protocol 2 with the names that numpy and scipy had when Planetoid's files were written."""
    data = pickle.dumps(found, protocol=2)
    for new, old in (
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"scipy.sparse._csr", b"scipy.sparse.csr"),
    ):
        data = data.replace(b"c" + new + b"\n", b"c" + old + b"\n")
    path.write_bytes(data)


def lists(edges: NDArray[Any]) -> dict[int, list[int]]:
    """Node → neighbours, as `ind.NAME.graph` has them."""
    found: collections.defaultdict[int, list[int]] = collections.defaultdict(list)
    for a, b in edges.T.tolist():
        found[a].append(b)
        found[b].append(a)
    return found
