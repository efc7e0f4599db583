"""Runs with buffers that stay on the device, one set for each shape of a batch, and optionally CUDA graphs.

Beside `sessions` the only module that imports onnxruntime. Measured on the CPU provider alone; no figures of a GPU yet.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from server.runtime.datatypes import Array, Feeds
from server.runtime.sessions.batch_buckets import Bucketed, Run
from server.runtime.sessions.provider_options import Device, Tuning

MOST_SHAPES = 64
"""Of batches with buffers of their own; the powers of two are 17 up to 65,536 rows. Further shapes run without."""

GRAPH_ID = "gpu_graph_id"
NO_GRAPH = "-1"
"""onnxruntime's name for the graph that a run is captured as or replayed from, and what keeps a run out of it."""


def runner(handle: Any, tuning: Tuning) -> Run:
    """What runs a session: the handle's own `run` where the tuning is plain."""
    run: Run = handle.run if tuning.device is None else Bound(handle, tuning.device)
    return run if tuning.buckets is None else Bucketed(run, tuning.buckets)


class Bound:
    """Runs a session with inputs and outputs in buffers on its device, at fixed addresses. Thread-safe: one at a time.

    The first run of a shape is a plain one, which tells how large the outputs are. Strings and, beyond
    `MOST_SHAPES`, further shapes stay plain. An output's size must follow from the inputs' shapes alone.
    The buffers live as long as this object.
    """

    def __init__(self, handle: Any, device: Device) -> None:
        self._bindings: dict[Hashable, _Binding] = {}  # first, so that it is freed before the session
        self._handle = handle
        self._device = device
        self._lock = threading.Lock()
        self._unbound = _run_options(NO_GRAPH) if device.graphs else None

    @property
    def shapes(self) -> int:
        """Shapes that have buffers now."""
        return len(self._bindings)

    def __call__(self, outputs: list[str], feeds: Feeds, options: None = None, /) -> list[Array]:
        """The named outputs as arrays of the caller's own; raises onnxruntime's errors."""
        shape = tuple(outputs), tuple((name, array.shape, array.dtype.str) for name, array in feeds.items())
        with self._lock:
            binding = self._bindings.get(shape)
            return self._first(shape, outputs, feeds) if binding is None else binding.run(feeds)

    def _first(self, shape: Hashable, outputs: list[str], feeds: Feeds) -> list[Array]:
        given: list[Array] = self._handle.run(outputs, feeds, self._unbound)
        if self.shapes < MOST_SHAPES and all(_bindable(array) for array in (*feeds.values(), *given)):
            graph = self.shapes + 1 if self._device.graphs else None
            self._bindings[shape] = _Binding(
                self._handle, self._device, feeds, dict(zip(outputs, given, strict=True)), graph
            )
        return given


class _Binding:
    """The buffers of one shape, and the number of its CUDA graph; made like the arrays of a run that has been."""

    def __init__(
        self, handle: Any, device: Device, feeds: Feeds, outputs: Mapping[str, Array], graph: int | None
    ) -> None:
        self._inputs = {name: _buffer(array, device) for name, array in feeds.items()}
        self._outputs = [_buffer(array, device) for array in outputs.values()]
        self._options = None if graph is None else _run_options(str(graph))
        # The class inside, as `sessions` keeps the handle inside: the wrapper wants the wrapped session.
        self._bound = ort.SessionIOBinding(handle)
        for name, value in self._inputs.items():
            self._bound.bind_ortvalue_input(name, value._ortvalue)
        for name, value in zip(outputs, self._outputs, strict=True):
            self._bound.bind_ortvalue_output(name, value._ortvalue)
        self._handle = handle

    def run(self, feeds: Feeds) -> list[Array]:
        """Copy in, run, copy out. `feeds` have the shapes that the buffers were made for."""
        for name, value in self._inputs.items():
            value.update_inplace(feeds[name])
        self._handle.run_with_iobinding(self._bound, self._options)
        return _copies(self._outputs)


def _copies(values: Sequence[Any]) -> list[Array]:
    """On the CPU `numpy()` is the buffer itself, which the next run writes over; from a device it is a copy."""
    return [np.array(value.numpy(), copy=value.device_name() == "cpu" or None) for value in values]


def _bindable(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype != np.object_


def _buffer(like: Array, device: Device) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(like.shape, like.dtype.type, device.name, device.number)


def _run_options(graph: str) -> Any:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(GRAPH_ID, graph)
    return options
