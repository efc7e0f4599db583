"""The known graph as matrices: what every member for nodes starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from exporter.data.dataset import Rows
from exporter.errors import TrainingError
from exporter.members.base import Setting

TAKES = ("features", "neighbours", "node")
"""The inputs of every member for nodes."""

_CONTEXT = ("x_data", "x_indices", "x_indptr", "x_shape", "edges")


@dataclass(frozen=True)
class Structure:
    """N known nodes. `features` CSR float32 [N, F], each row divided by its sum; `adjacency` CSR float32 [N, N]."""

    features: sparse.csr_matrix
    adjacency: sparse.csr_matrix

    @staticmethod
    def of(setting: Setting) -> Structure:
        """The graph of the context. Raises TrainingError where there is none."""
        context = setting.context
        if missing := [name for name in _CONTEXT if name not in context]:
            raise TrainingError(f"needs {', '.join(missing)} in the data's context")
        nodes, width = (int(size) for size in context["x_shape"])
        features = sparse.csr_matrix((context["x_data"], context["x_indices"], context["x_indptr"]), (nodes, width))
        sums = np.abs(features).sum(axis=1).A1 if nodes else np.zeros(0)
        features = sparse.diags(1.0 / np.maximum(sums, 1.0)) @ features
        ones = np.ones(context["edges"].shape[1], dtype=np.float32)
        adjacency = sparse.csr_matrix((ones, tuple(context["edges"])), (nodes, nodes))
        return Structure(features.tocsr().astype(np.float32), adjacency)

    @property
    def nodes(self) -> int:
        return int(self.adjacency.shape[0])

    @property
    def degrees(self) -> NDArray[np.float32]:
        """Neighbours of each node, float32 [N]."""
        found: NDArray[np.float32] = np.diff(self.adjacency.indptr).astype(np.float32)
        return found

    def symmetric(self) -> sparse.csr_matrix:
        """D^-½ (A + I) D^-½, D the degrees and one (Kipf and Welling 2017)."""
        root = sparse.diags(1.0 / np.sqrt(self.degrees + 1.0))
        return (root @ (self.adjacency + sparse.eye(self.nodes, format="csr")) @ root).tocsr().astype(np.float32)

    def averaging(self) -> sparse.csr_matrix:
        """D^-1 A: the mean of the neighbours; 0 for a node without."""
        return (sparse.diags(1.0 / np.maximum(self.degrees, 1.0)) @ self.adjacency).tocsr().astype(np.float32)


def labelled(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nodes and classes of the training rows."""
    return rows.inputs["node"], rows.target.astype(np.int64)


def to_torch(matrix: sparse.spmatrix) -> Tensor:
    """A torch matrix of the same entries, in COO form."""
    entries = matrix.tocoo()
    index = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
    values = torch.from_numpy(entries.data.astype(np.float32))
    return torch.sparse_coo_tensor(index, values, entries.shape, check_invariants=False).coalesce()


def thinned(matrix: Tensor, share: float) -> Tensor:
    """The matrix with a random `share` of its entries left out and the others scaled up: dropout of inputs."""
    kept = torch.rand(matrix.values().shape) >= share
    return torch.sparse_coo_tensor(
        matrix.indices()[:, kept], matrix.values()[kept] / (1 - share), matrix.shape,
        check_invariants=False, is_coalesced=True,
    )  # fmt: skip
