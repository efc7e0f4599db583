"""Torch's global generators, one state for each of several networks that share a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor


class Randomness:
    """A state of the global generators: what is drawn within it does not depend on what others draw between."""

    def __init__(self, cpu: Tensor, cuda: list[Tensor]) -> None:
        self._cpu, self._cuda = cpu, cuda

    @classmethod
    def now(cls) -> Self:
        """The present state."""
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])

    @contextmanager
    def here(self) -> Iterator[None]:
        """The generators go on from this state inside, and from their own afterwards. For one thread at a time."""
        outside = Randomness.now()
        self._restore()
        try:
            yield
        finally:
            inside = Randomness.now()
            self._cpu, self._cuda = inside._cpu, inside._cuda
            outside._restore()

    def _restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
