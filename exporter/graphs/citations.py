"""A graph as tables: features, labels, edges and parts, from an .npz or from Planetoid's own files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import FREE, FUSION, TEST, Array
from exporter.errors import DataError
from exporter.graphs.planetoid_pickle import Csr, read_array, read_matrix, read_pairs

UNLABELLED = -1
NO_PART = -1
"""Of nodes that are in no split, though others are: their features and edges are known, their labels are not used."""

_PLANETOID_VALIDATION = 500


@dataclass(frozen=True)
class Citations:
    """N nodes with F features in CSR form, and edges int64 [2, E] in both directions, sorted, without loops.

    `labels` int64 [N] are class numbers or UNLABELLED, `part` int8 [N] a part of `Rows` or NO_PART.
    """

    data: NDArray[np.float32]
    indices: NDArray[np.int64]
    indptr: NDArray[np.int64]
    width: int
    labels: NDArray[np.int64]
    edges: NDArray[np.int64]
    part: NDArray[np.int8]
    classes: tuple[str, ...]

    @property
    def nodes(self) -> int:
        return len(self.labels)

    def dense(self, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """The features of some nodes, float32 [n, F]."""
        found = np.zeros((len(nodes), self.width), dtype=np.float32)
        for place, node in enumerate(nodes):
            row = slice(self.indptr[node], self.indptr[node + 1])
            found[place, self.indices[row]] = self.data[row]
        return found


def read_npz(path: Path) -> Citations:
    """A graph from `labels`, `edge_index`, features `x_data`, `x_indices`, `x_indptr`, `x_shape` or dense `x`.

    Optional: `train_mask`, `val_mask`, `test_mask`, `classes`. Raises DataError.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path.name} cannot be read as .npz without pickles: {error}") from error
    for name in ("labels", "edge_index"):
        if name not in arrays:
            raise DataError(f"{path.name} has no array {name!r}, it has {', '.join(sorted(arrays))}")
    labels = arrays["labels"].astype(np.int64)
    data, indices, indptr, width = _features(path.name, arrays, len(labels))
    classes = tuple(str(name) for name in arrays.get("classes", np.arange(labels.max(initial=0) + 1)))
    edges = _edges(path.name, arrays["edge_index"], len(labels))
    return _checked(
        path.name, Citations(data, indices, indptr, width, labels, edges, _parts(path.name, arrays, labels), classes)
    )


def read_planetoid(folder: Path, name: str) -> Citations:
    """Planetoid's `ind.NAME.*`: Yang, Cohen, Salakhutdinov, ICML 2016. Raises DataError.

    Train are the rows of `x`, validation the 500 rows behind them, test those of `test.index`; indices without a
    row in `tx` (Citeseer's isolated nodes) have no features and no label.
    """
    path = {part: folder / f"ind.{name}.{part}" for part in ("x", "allx", "tx", "ally", "ty", "graph", "test.index")}
    known, tested, first = (read_matrix(path[part]) for part in ("allx", "tx", "x"))
    try:
        test = np.loadtxt(path["test.index"], dtype=np.int64, ndmin=1)
    except (OSError, ValueError) as error:
        raise DataError(f"{path['test.index'].name} cannot be read: {error}") from error
    _require_rows(path, known, tested, test)
    nodes = max(known.shape[0], int(test.max()) + 1)
    rows, columns, data = (
        np.concatenate(parts)
        for parts in zip(_places(known, np.arange(known.shape[0])), _places(tested, test), strict=True)
    )
    order = np.lexsort((columns, rows))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=nodes))]).astype(np.int64)
    labels = np.full(nodes, UNLABELLED, dtype=np.int64)
    names = read_array(path["ally"])
    labels[: len(names)], labels[test] = _named(names), _named(read_array(path["ty"]))
    part = np.full(nodes, NO_PART, dtype=np.int8)
    train = first.shape[0]
    part[:train], part[train : train + _PLANETOID_VALIDATION], part[test] = FREE, FUSION, TEST
    graph = Citations(
        data=data[order].astype(np.float32),
        indices=columns[order].astype(np.int64),
        indptr=indptr,
        width=known.shape[1],
        labels=labels,
        edges=_edges(path["graph"].name, read_pairs(path["graph"]), nodes),
        part=np.where(labels == UNLABELLED, NO_PART, part).astype(np.int8),
        classes=tuple(str(number) for number in range(names.shape[1])),
    )
    return _checked(f"ind.{name}", graph)


def _require_rows(path: Mapping[str, Path], known: Csr, tested: Csr, test: NDArray[np.int64]) -> None:
    found = {
        "ally": (len(read_array(path["ally"])), known.shape[0]),
        "ty": (len(read_array(path["ty"])), tested.shape[0]),
        "test.index": (len(test), tested.shape[0]),
    }
    for part, (rows, expected) in found.items():
        if rows != expected:
            raise DataError(f"{path[part].name} has {rows} rows, expected {expected}")


def _places(matrix: Csr, nodes: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Rows (as nodes), columns and values."""
    return np.repeat(nodes, np.diff(matrix.indptr)), matrix.indices, matrix.data


def _named(one_hot: Array) -> NDArray[np.int64]:
    return np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), UNLABELLED).astype(np.int64)


def _features(
    file: str, arrays: Mapping[str, Array], nodes: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], int]:
    if "x" in arrays:
        dense = arrays["x"]
        if dense.ndim != 2:
            raise DataError(f"{file}: x is {list(dense.shape)}, expected [{nodes}, F]")
        row, column = np.nonzero(dense)  # NaN is not zero
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(dense)))])
        parts = (dense[row, column], column, indptr)
        shape = dense.shape
    else:
        wanted = ("x_data", "x_indices", "x_indptr", "x_shape")
        if missing := [name for name in wanted if name not in arrays]:
            raise DataError(f"{file} has no {', '.join(missing)} and no x, it has {', '.join(sorted(arrays))}")
        parts = (arrays["x_data"], arrays["x_indices"], arrays["x_indptr"])
        shape = tuple(int(size) for size in arrays["x_shape"])
    if shape[0] != nodes or len(parts[2]) != nodes + 1:
        raise DataError(f"{file}: features of {shape[0]} nodes, labels of {nodes}")
    return parts[0].astype(np.float32), parts[1].astype(np.int64), parts[2].astype(np.int64), int(shape[1])


def _edges(file: str, given: Array, nodes: int) -> NDArray[np.int64]:
    """Both directions of each edge, once, sorted, without loops. Raises DataError for a node that is not there."""
    if given.ndim != 2 or given.shape[0] != 2:
        raise DataError(f"{file}: edge_index is {list(given.shape)}, expected [2, E]")
    edges = given.astype(np.int64)
    outside = np.flatnonzero(((edges < 0) | (edges >= nodes)).any(axis=0))
    if len(outside):
        edge = outside[0]
        raise DataError(f"{file}: edge {edge} joins nodes {edges[0, edge]} and {edges[1, edge]}, there are nodes 0 to "
                        f"{nodes - 1}; {len(outside)} such edges")  # fmt: skip
    both = np.concatenate([edges, edges[::-1]], axis=1)
    both = both[:, both[0] != both[1]]
    found: NDArray[np.int64] = np.unique(both, axis=1)
    return found


def _parts(file: str, arrays: Mapping[str, Array], labels: NDArray[np.int64]) -> NDArray[np.int8]:
    masks = {part: arrays.get(f"{name}_mask") for part, name in ((FREE, "train"), (FUSION, "val"), (TEST, "test"))}
    given = {part: mask.astype(np.bool_) for part, mask in masks.items() if mask is not None}
    found = np.full(len(labels), NO_PART if FREE in given else FREE, dtype=np.int8)
    for part, mask in given.items():
        if mask.shape != labels.shape:
            raise DataError(f"{file}: a mask is {list(mask.shape)}, the labels {list(labels.shape)}")
        found[mask] = part
    if sum(int(mask.sum()) for mask in given.values()) > int(
        np.any(list(given.values()), axis=0).sum() if given else 0
    ):
        raise DataError(f"{file}: a node is in more than one of train_mask, val_mask and test_mask")
    return np.where(labels == UNLABELLED, NO_PART, found).astype(np.int8)


def _checked(file: str, graph: Citations) -> Citations:
    """The graph. Raises DataError for labels, indices and values that cannot be."""
    wild = np.flatnonzero((graph.labels < UNLABELLED) | (graph.labels >= len(graph.classes)))
    if len(wild):
        raise DataError(f"{file}: node {wild[0]} has label {graph.labels[wild[0]]}, expected 0 to "
                        f"{len(graph.classes) - 1}, or -1 for none")  # fmt: skip
    if len(graph.indices) and (graph.indices.min() < 0 or graph.indices.max() >= graph.width):
        raise DataError(f"{file}: a feature index is outside 0 to {graph.width - 1}")
    if (np.diff(graph.indptr) < 0).any() or graph.indptr[-1] != len(graph.data) != len(graph.indices):
        raise DataError(f"{file}: x_indptr does not fit x_indices and x_data")
    broken = np.flatnonzero(~np.isfinite(graph.data))
    if len(broken):
        node = int(np.searchsorted(graph.indptr, broken[0], side="right") - 1)
        raise DataError(f"{file}: node {node} has a feature that is not finite (feature {graph.indices[broken[0]]})")
    return graph
