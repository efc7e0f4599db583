"""A numpy ensemble that counts what it is asked, for tests of the batcher alone."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from server.runtime import LoadedEnsemble, MemberFailure, Prediction

POISON = -1.0
"""A row of this value makes member 'a' fail for the whole batch it is in, as a bad index does in onnxruntime."""


class Doubler:
    """Two members; `y = 2 x` for each row. Thread-safe counters; `gate` holds every batch while it is closed."""

    def __init__(self, *, quorum: int = 2, always_failing: bool = False) -> None:
        members = (SimpleNamespace(name="a", required=False), SimpleNamespace(name="b", required=False))
        self.manifest = SimpleNamespace(members=members, quorum=quorum)
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self._always_failing = always_failing

    def predict(self, feeds: Mapping[str, NDArray[Any]], outputs: Collection[str]) -> Prediction:
        x = feeds["x"]
        self.gate.wait(10)
        self.batches.append(len(x))
        failed = self._always_failing or bool((x == POISON).any())
        answered = np.ones((2, len(x)), bool)
        answered[0] = not failed
        return Prediction(
            outputs=dict.fromkeys(outputs, x * 2),
            answered=answered if failed else None,
            usable=answered.sum(axis=0) >= self.manifest.quorum if failed else None,
            failures=(MemberFailure("a", "error", "a poisoned row"),) if failed else (),
            member_seconds=(),
            compute_seconds=0.0,
            fusion_seconds=0.0,
        )

    def models_of(self, outputs: Collection[str]) -> frozenset[str]:
        return frozenset({"a", "b"})

    def probe(self, outputs: Collection[str]) -> Prediction:
        """A good row, which is no batch."""
        given = self.predict({"x": np.ones((1, 1), np.float32)}, outputs)
        self.batches.pop()
        return given

    def shape_problem(self, feeds: Mapping[str, NDArray[Any]], outputs: Collection[str]) -> str | None:
        return None

    @property
    def ensemble(self) -> LoadedEnsemble:
        return cast(LoadedEnsemble, self)
