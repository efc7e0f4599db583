"""Planetoid's files are pickles: arrays, sparse matrices and lists of neighbours are taken out of them, nothing runs.

Two names more than arrays need are answered, by classes of ours that keep what they are given; see `plain_pickle`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.data.plain_pickle import PickleError, PlainArray, load_plain
from exporter.errors import DataError

MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Csr:
    """A sparse matrix: values, columns and where each row begins."""

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[Any]
    shape: tuple[int, int]


class _Sparse:
    """Stands for `scipy.sparse.csr_matrix`."""

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def matrix(self) -> Csr:
        """The matrix. Raises PickleError where a part is missing or of another form."""
        state = self.state if isinstance(self.state, dict) else {}
        named = {key.decode("ascii", "replace") if isinstance(key, bytes) else key: state[key] for key in state}
        parts = [named.get(name) for name in ("data", "indices", "indptr")]
        shape = named.get("_shape")
        if not all(isinstance(part, PlainArray) for part in parts) or not isinstance(shape, tuple) or len(shape) != 2:
            raise PickleError("holds a sparse matrix of an unknown form")
        data, indices, indptr = (part.array() for part in parts if isinstance(part, PlainArray))
        return Csr(data, indices, indptr, (int(shape[0]), int(shape[1])))


class _Lists(dict[Any, Any]):
    """Stands for `collections.defaultdict(list)`."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


_STAND_INS: dict[tuple[str, str], Any] = {
    ("scipy.sparse.csr", "csr_matrix"): _Sparse,
    ("scipy.sparse._csr", "csr_matrix"): _Sparse,
    ("collections", "defaultdict"): _Lists,
    ("__builtin__", "list"): _Lists,
}


def read_matrix(path: Path) -> Csr:
    """A sparse matrix. Raises DataError."""
    return _matrix(path, _load(path))


def read_array(path: Path) -> NDArray[Any]:
    """A matrix of numbers. Raises DataError."""
    found = _load(path)
    try:
        array = found.array() if isinstance(found, PlainArray) else None
    except PickleError as error:
        raise DataError(f"{path.name} {error}") from error
    if array is None or array.ndim != 2:
        raise DataError(f"{path.name} holds no matrix of numbers")
    return array


def read_pairs(path: Path) -> NDArray[np.int64]:
    """Edges int64 [2, E], as they are, out of node → its neighbours. Raises DataError."""
    found = _load(path)
    try:
        pairs = [(int(node), int(one)) for node, near in found.items() for one in near]
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path.name} holds no lists of neighbours") from error
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T


def _matrix(path: Path, found: Any) -> Csr:
    try:
        if isinstance(found, _Sparse):
            return found.matrix()
    except PickleError as error:
        raise DataError(f"{path.name} {error}") from error
    raise DataError(f"{path.name} holds no sparse matrix")


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path.name} has more than {MAX_BYTES} bytes")
    try:
        return load_plain(data, _STAND_INS)
    except PickleError as error:
        raise DataError(f"{path.name} {error}") from error
