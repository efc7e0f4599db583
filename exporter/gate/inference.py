"""Exported members and rules, run by the same sessions that serve them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.errors import ConversionError
from server.runtime.sessions.session import Model, RunError, Session, SessionError, SessionKey

_BATCH_ROWS = 256


class Graph:
    """An ONNX graph's `output` [n, C], by default its only one, on one thread of the CPU."""

    def __init__(self, data: bytes, output: str = "") -> None:
        """Raises ConversionError when onnxruntime does not take the graph."""
        try:
            self._session = Session(SessionKey(hashlib.sha256(data).hexdigest()), Model(data))
        except SessionError as error:
            raise ConversionError(f"onnxruntime does not load the graph: {error}") from error
        self.inputs = tuple(entry.name for entry in self._session.inputs)
        self._outputs = [output] if output else [entry.name for entry in self._session.outputs]

    def __call__(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C] of all rows as one batch. Raises ConversionError when the run fails."""
        feeds = {name: inputs[name] for name in self.inputs}
        try:
            (found,) = self._session.run(self._outputs, feeds)
        except RunError as error:
            raise ConversionError(f"the graph does not run: {error.detail}") from error
        return np.asarray(found, dtype=np.float32)

    def in_batches(self, inputs: Mapping[str, Array], rows: int = _BATCH_ROWS) -> NDArray[np.float32]:
        """The same, at most `rows` at a time."""
        return np.concatenate([self(part) for part in batches(inputs, rows)])


def batches(inputs: Mapping[str, Array], rows: int) -> Iterator[dict[str, Array]]:
    """The inputs `rows` at a time; the last part may be smaller."""
    total = len(next(iter(inputs.values())))
    for start in range(0, total, rows):
        yield {name: array[start : start + rows] for name, array in inputs.items()}


def cores() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
