"""Graphs read from .npz and from Planetoid's pickles, of which nothing runs; what is wrong is named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from exporter.errors import DataError
from exporter.recipe.sources import Graph
from tests.exporter.graphs.samples import NODES, WORDS, graph, lists, write, write_pickle


def test_an_npz_gives_rows_for_the_nodes_in_a_part(tmp_path: Path) -> None:
    arrays = graph()
    data = Graph(neighbours=12).load(write(tmp_path, arrays))
    assert np.bincount(data.rows.part).tolist() == [30, 30, 20]
    assert data.classes == ("0", "1", "2")
    node = data.rows.inputs["node"]
    assert np.array_equal(data.rows.inputs["features"], arrays["x"][node])
    a, b = arrays["edge_index"]
    for place, one in enumerate(node):
        near = sorted({*b[a == one].tolist(), *a[b == one].tolist()})
        row = data.rows.inputs["neighbours"][place]
        if len(near) <= 12:
            assert row.tolist() == near + [-1] * (12 - len(near))
        else:
            assert set(row.tolist()) < set(near)
    both = data.context["edges"]
    assert np.array_equal(np.unique(both[::-1], axis=1), both)


def test_a_sparse_matrix_and_edges_twice_give_the_same_graph(tmp_path: Path) -> None:
    arrays = graph()
    first = Graph().load(write(tmp_path, arrays, "dense"))
    x = sparse.csr_matrix(arrays.pop("x"))
    loops = np.array([[3, 4], [3, 4]])
    arrays["edge_index"] = np.concatenate([arrays["edge_index"], arrays["edge_index"][::-1], loops], axis=1)
    arrays |= {"x_data": x.data, "x_indices": x.indices, "x_indptr": x.indptr, "x_shape": np.array(x.shape)}
    second = Graph(name="sparse").load(write(tmp_path, arrays, "sparse"))
    assert first.digest == second.digest
    with pytest.raises(DataError, match="has the graphs dense, sparse: choose one"):
        Graph().load(tmp_path)


def test_planetoids_files_give_the_same_graph(tmp_path: Path) -> None:
    arrays = graph()
    arrays["val_mask"] = (np.arange(NODES) >= 30) & (np.arange(NODES) < 55)
    x, labels = arrays["x"], arrays["labels"].astype(np.int64)
    one_hot = np.eye(3, dtype=np.int32)[labels] * (labels >= 0)[:, None].astype(np.int32)
    test = np.random.default_rng(1).permutation(np.arange(55, 85))
    known = np.arange(55)
    parts = {
        "x": sparse.csr_matrix(x[:30]), "allx": sparse.csr_matrix(x[known]), "tx": sparse.csr_matrix(x[test]),
        "y": one_hot[:30], "ally": one_hot[known], "ty": one_hot[test], "graph": lists(arrays["edge_index"]),
    }  # fmt: skip
    arrays["x"][85:] = 0
    joined = (arrays["edge_index"] < 85).all(axis=0)
    arrays = {name: array[:85] if array.shape[0] == NODES else array for name, array in arrays.items()}
    arrays["edge_index"] = arrays["edge_index"][:, joined]
    parts["graph"] = lists(arrays["edge_index"])
    for part, found in parts.items():
        write_pickle(tmp_path / f"ind.tiny.{part}", found)
    (tmp_path / "ind.tiny.test.index").write_text("".join(f"{node}\n" for node in test))
    (tmp_path / "npz").mkdir()
    expected = Graph().load(write(tmp_path / "npz", arrays))
    found = Graph().load(tmp_path)
    assert found.digest == expected.digest
    (tmp_path / "ind.tiny.test.index").write_text("55\n56\n")
    with pytest.raises(DataError, match=r"ind\.tiny\.test\.index has 2 rows, expected 30"):
        Graph().load(tmp_path)


class _Attack:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    for part in ("x", "allx", "tx", "y", "ally", "ty", "graph"):
        (tmp_path / f"ind.bad.{part}").write_bytes(pickle.dumps(_Attack(tmp_path / "ran"), protocol=2))
    with pytest.raises(DataError, match=r"ind\.bad\.allx is a pickle that calls posix\.mkdir, which is not run"):
        Graph().load(tmp_path)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "ind.bad.allx").write_bytes(b"\x80\x02nonsense")
    with pytest.raises(DataError, match=r"ind\.bad\.allx is no pickle that can be read"):
        Graph().load(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("edge_index", lambda a: np.array([[0, 5], [1, NODES]]),
         r"small\.npz: edge 1 joins nodes 5 and 90, there are nodes 0 to 89; 1 such edges"),
        ("edge_index", lambda a: a.T, r"edge_index is \[\d+, 2\], expected \[2, E\]"),
        ("x", lambda a: np.where(np.arange(NODES)[:, None] == 7, np.nan, a),
         r"node 7 has a feature that is not finite"),
        ("x", lambda a: a[:-1], r"features of 89 nodes, labels of 90"),
        ("labels", lambda a: np.where(np.arange(NODES) == 4, -3, a), r"node 4 has label -3, expected 0 to 2"),
        ("val_mask", lambda a: a | (np.arange(NODES) == 0), "a node is in more than one of train_mask"),
        ("test_mask", lambda a: a[:5], r"a mask is \[5\], the labels \[90\]"),
        ("classes", lambda a: np.array(["a", "b"]), r"has label 2, expected 0 to 1"),
    ],
)  # fmt: skip
def test_a_bad_graph_is_named(tmp_path: Path, name: str, change: Any, message: str) -> None:
    arrays = graph()
    arrays[name] = change(arrays.get(name))
    with pytest.raises(DataError, match=message):
        Graph().load(write(tmp_path, arrays))


def test_missing_arrays_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs --data"):
        Graph().load(None)
    with pytest.raises(DataError, match=r"has neither NAME\.npz nor ind\.NAME\.x"):
        Graph().load(tmp_path)
    arrays = graph()
    del arrays["labels"]
    with pytest.raises(DataError, match=r"small\.npz has no array 'labels', it has edge_index"):
        Graph().load(write(tmp_path, arrays))
    (tmp_path / "small.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"small\.npz cannot be read"):
        Graph().load(tmp_path)


def test_without_masks_every_labelled_node_is_ours_to_split(tmp_path: Path) -> None:
    arrays = {name: array for name, array in graph().items() if not name.endswith("mask")}
    data = Graph().load(write(tmp_path, arrays))
    assert len(data.rows) == NODES - 1
    assert not data.rows.part.any()
    assert data.inputs[0].shape == (-1, WORDS)
