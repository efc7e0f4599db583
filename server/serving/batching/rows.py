"""The outputs of a batch, and the rows of it that are one request's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


class Outputs:
    """The outputs of a whole batch, arrays `[n, …]` by name, shared by the answers that are cut from it.

    `memo` belongs to whoever encodes answers: what is made once for all rows of the batch is kept there.
    """

    __slots__ = ("arrays", "memo")

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays
        self.memo: dict[object, Any] = {}


class Rows(Mapping[str, Array]):
    """Rows `start:stop` of a batch's outputs as name → array `[rows, …]`: cut when asked for, never copied."""

    __slots__ = ("names", "start", "stop", "whole")

    def __init__(self, whole: Outputs, names: Collection[str], start: int, stop: int) -> None:
        self.whole = whole
        self.names = names
        self.start = start
        self.stop = stop

    def __getitem__(self, name: str) -> Array:
        if name not in self.names:
            raise KeyError(name)
        return self.whole.arrays[name][self.start : self.stop]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
