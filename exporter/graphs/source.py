"""Nodes of one graph, as rows: own features, neighbours among the known nodes, and the node's number if it has one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from exporter.data.dataset import Array, Dataset, Rows
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from exporter.graphs.citations import NO_PART, Citations, read_npz, read_planetoid
from model_repo import Input

FEATURES, NEIGHBOURS, NODE = "features", "neighbours", "node"
NONE = -1
"""Fills up `neighbours`, and is the `node` of a new one."""


class Graph(Source, frozen=True, kw_only=True, tag="graph"):
    """A graph from NAME.npz or from Planetoid's files ind.NAME.*; Cora and Citeseer are such graphs.

    Nodes in a train part are ours to fit on, those of a validation part fit the fusion, those of a test part test.
    All features and all edges are known to the members; labels only of the rows that they are given.
    """

    domain: ClassVar[Domain] = "graph"

    name: str | None = None
    """Of the graph; absent: the only one in the folder."""
    neighbours: Annotated[int, Meta(ge=1, le=4096)] = 32
    """S: neighbours that a request has room for. Nodes with more are declared with a drawn S of them."""

    def load(self, folder: Path | None) -> Dataset:
        """The labelled nodes that are in a part. Raises DataError naming file and node."""
        if folder is None:
            raise DataError("graph needs --data: a folder with NAME.npz or ind.NAME.x and its like")
        graph = _read(folder, self.name)
        nodes = np.flatnonzero(graph.part != NO_PART).astype(np.int64)
        if not len(nodes):
            raise DataError(f"{folder}: no node is labelled and in a part")
        inputs: dict[str, Array] = {
            FEATURES: graph.dense(nodes),
            NEIGHBOURS: neighbour_rows(graph.edges, nodes, graph.nodes, self.neighbours),
            NODE: nodes,
        }
        return Dataset(
            rows=Rows.of(inputs, graph.labels[nodes], graph.part[nodes]),
            classes=graph.classes,
            inputs=(
                Input(name=FEATURES, datatype="FP32", shape=(-1, graph.width)),
                Input(name=NEIGHBOURS, datatype="INT64", shape=(-1, self.neighbours)),
                Input(name=NODE, datatype="INT64", shape=(-1,)),
            ),
            edges=_edge_rows(inputs, graph.nodes),
            unique=False,  # each node is one thing, whatever its words
            context={
                "x_data": graph.data,
                "x_indices": graph.indices,
                "x_indptr": graph.indptr,
                "x_shape": np.array([graph.nodes, graph.width], dtype=np.int64),
                "edges": graph.edges,
            },
        )


def neighbour_rows(edges: NDArray[np.int64], nodes: NDArray[np.int64], count: int, width: int) -> NDArray[np.int64]:
    """The neighbours of `nodes` among `count` nodes, int64 [n, width], filled up with NONE.

    Of more than `width` neighbours as many are drawn, always the same.
    """
    starts = np.searchsorted(edges[0], np.arange(count + 1))
    random = np.random.default_rng(0)
    found = np.full((len(nodes), width), NONE, dtype=np.int64)
    for place, node in enumerate(nodes):
        near = edges[1, starts[node] : starts[node + 1]]
        if len(near) > width:
            near = np.sort(random.choice(near, width, replace=False))
        found[place, : len(near)] = near
    return found


def _read(folder: Path, name: str | None) -> Citations:
    for place in (folder, folder / name) if name else (folder,):
        names = sorted(path.stem for path in place.glob("*.npz")) if name is None else [name]
        names += [path.name.split(".")[1] for path in sorted(place.glob("ind.*.x"))] if name is None else []
        if len(names) > 1:
            raise DataError(f"{place} has the graphs {', '.join(names)}: choose one with --set data.name=…")
        for one in names:
            if (place / f"{one}.npz").is_file():
                return read_npz(place / f"{one}.npz")
            if (place / f"ind.{one}.x").is_file():
                return read_planetoid(place, one)
    raise DataError(f"{folder} has neither {name or 'NAME'}.npz nor ind.{name or 'NAME'}.x")


def _edge_rows(inputs: dict[str, Array], count: int) -> dict[str, Array]:
    """A new node without anything, one with every word, one as its own only neighbour, and nodes that are not."""
    features = np.zeros((6, inputs[FEATURES].shape[1]), dtype=np.float32)
    features[1] = 1.0
    features[2:] = inputs[FEATURES][0]
    neighbours = np.full((6, inputs[NEIGHBOURS].shape[1]), NONE, dtype=np.int64)
    neighbours[2, -1], neighbours[3], neighbours[4] = inputs[NODE][0], inputs[NEIGHBOURS][0], count
    node = np.array([NONE, NONE, NONE, NONE, count, count - 1], dtype=np.int64)
    return {FEATURES: features, NEIGHBOURS: neighbours, NODE: node}
