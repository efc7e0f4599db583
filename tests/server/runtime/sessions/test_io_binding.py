"""Runs in buffers of their own, on the CPU provider's: the same code as on a GPU but for the device's name."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from model_repo import Provider
from server.runtime import RuntimeOptions, SessionPool
from server.runtime.datatypes import Array
from server.runtime.sessions import io_binding as binding
from server.runtime.sessions.io_binding import GRAPH_ID, Bound
from server.runtime.sessions.provider_options import Device
from server.runtime.sessions.session import RunError
from tests.graphs import keyword, linear, raising_above
from tests.repositories import opened, publish
from tests.server.runtime.loading import load, rows_of, three

W = np.random.default_rng(0).normal(size=(3, 4))
CPU = Device("cpu")
BOUND = (Provider(name="CPUExecutionProvider", options={"tutti_batch_buckets": "powers", "tutti_io_binding": "1"}),)


class Recording:
    """A real session's handle that notes each run: 'plain' or 'bound', and the CUDA graph it was told."""

    def __init__(self, data: bytes) -> None:
        self._handle = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])._sess
        self.runs: list[tuple[str, str]] = []
        self.at_once = 0
        self.most_at_once = 0

    def run(self, outputs: list[str], feeds: dict[str, Array], options: Any) -> Any:
        return self._noted("plain", options, lambda: self._handle.run(outputs, feeds, options))

    def run_with_iobinding(self, bound: Any, options: Any) -> None:
        self._noted("bound", options, lambda: self._handle.run_with_iobinding(bound, options))

    def _noted(self, kind: str, options: Any, run: Any) -> Any:
        self.runs.append((kind, "" if options is None else options.get_run_config_entry(GRAPH_ID)))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return run()
        finally:
            self.at_once -= 1


@pytest.fixture
def bindable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `Bound` bind to a Recording, as the class inside takes nothing but a real handle."""
    real = ort.SessionIOBinding
    monkeypatch.setattr(ort, "SessionIOBinding", lambda handle: real(handle._handle))


def rows(count: int, seed: int = 0) -> dict[str, Array]:
    return {"x": np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)}


def expected(feeds: dict[str, Array]) -> Array:
    return np.asarray(feeds["x"] @ W.astype(np.float32))


@pytest.mark.usefixtures("bindable")
def test_the_first_run_of_a_shape_is_plain_and_the_next_are_in_its_buffers() -> None:
    handle = Recording(linear(W))
    run = Bound(handle, CPU)
    for seed in range(3):
        feeds = rows(4, seed)
        np.testing.assert_allclose(run(["y"], feeds)[0], expected(feeds), rtol=1e-5, atol=1e-6)
    run(["y"], rows(2))
    assert handle.runs == [("plain", ""), ("bound", ""), ("bound", ""), ("plain", "")]
    assert run.shapes == 2


def test_an_answer_is_the_callers_own_and_outlives_the_next_run() -> None:
    session = opened(linear(W), providers=BOUND)
    answers = [session.run(["y"], rows(4, seed))[0] for seed in range(4)]
    for seed, answer in enumerate(answers):
        np.testing.assert_allclose(answer, expected(rows(4, seed)), rtol=1e-5, atol=1e-6)
    assert answers[1].flags.writeable


def test_rows_that_are_no_contiguous_array_are_copied_in_too() -> None:
    session = opened(linear(W), providers=BOUND)
    x = np.asfortranarray(rows(4)["x"])
    for _ in range(2):
        np.testing.assert_allclose(session.run(["y"], {"x": x})[0], expected({"x": x}), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("bindable")
def test_each_shape_is_a_cuda_graph_of_its_own_and_plain_runs_are_none() -> None:
    handle = Recording(linear(W))
    run = Bound(handle, Device("cpu", graphs=True))
    for count in (4, 8, 4, 8):
        run(["y"], rows(count))
    assert handle.runs == [("plain", "-1"), ("plain", "-1"), ("bound", "1"), ("bound", "2")]


@pytest.mark.usefixtures("bindable")
def test_shapes_beyond_the_limit_run_without_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "MOST_SHAPES", 1)
    handle = Recording(linear(W))
    run = Bound(handle, Device("cpu", graphs=True))
    for count in (1, 2, 2, 1):
        feeds = rows(count)
        np.testing.assert_allclose(run(["y"], feeds)[0], expected(feeds), rtol=1e-5, atol=1e-6)
    assert handle.runs == [("plain", "-1"), ("plain", "-1"), ("plain", "-1"), ("bound", "1")]


@pytest.mark.usefixtures("bindable")
def test_one_session_runs_once_at_a_time_from_many_threads() -> None:
    handle = Recording(linear(W))
    run = Bound(handle, CPU)
    barrier = threading.Barrier(4)

    def lane(number: int) -> bool:
        barrier.wait()
        feeds = {"x": np.full((5, 3), number, np.float32)}
        want = expected(feeds)
        return all(np.allclose(run(["y"], feeds)[0], want, rtol=1e-5) for _ in range(200))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lane, range(4)))
    assert handle.most_at_once == 1


def test_strings_run_without_buffers() -> None:
    session = opened(keyword(["yes", "no"], 3), providers=BOUND)
    for _ in range(3):
        assert session.run(["y"], {"text": np.array(["no", "yes"], np.object_)})[0].argmax(axis=1).tolist() == [1, 0]


def test_a_failing_run_is_told_and_does_not_spoil_the_next() -> None:
    session = opened(raising_above(1.0, W), providers=BOUND)
    good, bad = {"x": np.zeros((2, 3), np.float32)}, {"x": np.full((2, 3), 2.0, np.float32)}
    first = session.run(["y"], good)[0]
    with pytest.raises(RunError, match="Gather"):
        session.run(["y"], bad)
    np.testing.assert_array_equal(session.run(["y"], good)[0], first)


def test_an_input_of_another_datatype_is_the_inputs_fault() -> None:
    session = opened(linear(W), providers=BOUND)
    session.run(["y"], rows(2))
    with pytest.raises(RunError) as caught:
        session.run(["y"], {"x": np.zeros((2, 3))})
    assert caught.value.reason == "invalid_input"


@pytest.mark.parametrize("plan", ["sequential", "parallel", "merged"])
def test_an_ensemble_gives_the_same_in_buffers_and_frees_them_when_closed(
    tmp_path: Path, pool: SessionPool, monkeypatch: pytest.MonkeyPatch, plan: Any
) -> None:
    made: list[weakref.ref[Any]] = []
    real = binding._buffer

    def noted(like: Array, device: Device) -> Any:
        value = real(like, device)
        made.append(weakref.ref(value))
        return value

    monkeypatch.setattr(binding, "_buffer", noted)
    publish(tmp_path, "tiny", three())
    plain = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan))
    bound = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan, providers=BOUND))
    assert made, "warming up has made the buffers"
    before = len(made)
    for count in (1, 3, 7, 64, 65):
        feeds = rows_of(count)
        given, want = (each.predict(feeds, each.default_outputs).outputs for each in (bound, plain))
        for name in (name for name, array in want.items() if array.dtype.kind == "f"):
            np.testing.assert_allclose(given[name], want[name], rtol=1e-5, atol=1e-6)
    assert len(made) > before, "65 rows are a size that the warm-up had no reason to run"
    plain.close()
    bound.close()
    gc.collect()
    assert [buffer() for buffer in made if buffer() is not None] == []
