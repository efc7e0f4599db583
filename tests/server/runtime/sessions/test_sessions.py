"""Sessions by digest: shared, counted, freed; errors told in one line."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from server.runtime.sessions.pool import SessionPool
from server.runtime.sessions.session import Model, RunError, Session, SessionError, SessionKey
from tests.graphs import linear, raising_above, softmax_linear, with_external
from tests.repositories import opened

W = np.eye(3)
X = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)


def nothing() -> None:
    """A caller that has nothing to check."""


def key_of(data: bytes, threads: int = 1) -> SessionKey:
    return SessionKey(hashlib.sha256(data).hexdigest(), threads=threads)


class Loads:
    """Counts reads and checks of one model."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0
        self.checks = 0

    def read(self) -> Model:
        self.reads += 1
        return Model(self.data)

    def check(self) -> None:
        self.checks += 1


def test_a_session_tells_its_inputs_and_outputs() -> None:
    session = opened(softmax_linear(W))
    assert [(entry.name, entry.type, entry.shape) for entry in session.inputs] == [("x", "tensor(float)", ("n", 3))]
    assert [entry.name for entry in session.outputs] == ["y"]
    assert session.providers == ("CPUExecutionProvider",)
    assert session.problem == ""


def test_a_session_runs_from_many_threads_at_once() -> None:
    session = opened(linear(W * 2))
    barrier = threading.Barrier(4)

    def run(number: int) -> bool:
        barrier.wait()
        X = np.full((5, 3), number, dtype=np.float32)
        return all((session.run(["y"], {"x": X})[0] == 2 * X).all() for _ in range(200))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(run, range(4)))


@pytest.mark.parametrize(
    ("feeds", "detail"),
    [
        ({"x": np.zeros((1, 4), np.float32)}, "Got: 4 Expected: 3"),
        ({"x": np.zeros(3, np.float32)}, "Invalid rank"),
        ({"x": np.zeros((1, 3))}, "tensor(double)"),
        ({"y": np.zeros((1, 3), np.float32)}, "y"),
    ],
)
def test_an_input_that_does_not_fit_is_the_inputs_fault(feeds: dict[str, np.ndarray], detail: str) -> None:
    with pytest.raises(RunError) as caught:
        opened(linear(W)).run(["y"], feeds)
    assert caught.value.reason == "invalid_input"
    assert detail in caught.value.detail


def test_a_run_that_fails_inside_is_told_in_one_line_without_source_paths() -> None:
    session = opened(raising_above(1.0, W))
    with pytest.raises(RunError) as caught:
        session.run(["y"], {"x": X * 2})
    assert "Gather" in caught.value.detail
    assert "\n" not in caught.value.detail
    assert ".cc" not in caught.value.detail
    assert "onnxruntime" not in caught.value.detail.casefold()
    np.testing.assert_allclose(session.run(["y"], {"x": X})[0].sum(), 1.0, rtol=1e-6)


@pytest.mark.parametrize("data", [b"", b"garbage", softmax_linear(W)[:60]], ids=["empty", "garbage", "truncated"])
def test_what_is_no_model_is_one_error(data: bytes) -> None:
    with pytest.raises(SessionError) as caught:
        opened(data)
    assert "\n" not in str(caught.value)


def test_external_weights_come_from_memory() -> None:
    data, content = with_external(linear(W * 3), "m.onnx.data")
    session = opened(data, {"m.onnx.data": content})
    np.testing.assert_array_equal(session.run(["y"], {"x": X})[0], X * 3)


def test_one_content_is_loaded_once_and_freed_with_the_last_release() -> None:
    pool, loads = SessionPool(), Loads(linear(W))
    key = key_of(loads.data)
    first = pool.acquire(key, loads.read, loads.check)
    second = pool.acquire(key, loads.read, loads.check)
    assert first is second
    assert (loads.reads, loads.checks) == (1, 1), "the second caller's own copy is still verified"
    assert (pool.count, pool.bytes) == (1, len(loads.data))
    assert pool.holds(key.sha256)
    pool.release(first)
    assert pool.count == 1
    pool.release(second)
    assert (pool.count, pool.bytes) == (0, 0)
    assert not pool.holds(key.sha256)


def test_other_threads_or_providers_are_another_session() -> None:
    pool, loads = SessionPool(), Loads(linear(W))
    one = pool.acquire(key_of(loads.data), loads.read, loads.check)
    two = pool.acquire(key_of(loads.data, threads=2), loads.read, loads.check)
    assert one is not two
    assert pool.count == 2


def test_callers_at_the_same_time_share_one_load() -> None:
    pool, loads = SessionPool(), Loads(linear(W))
    key, barrier = key_of(loads.data), threading.Barrier(4)

    def acquire(_: int) -> Session:
        barrier.wait()
        return pool.acquire(key, loads.read, loads.check)

    with ThreadPoolExecutor(4) as threads:
        sessions = list(threads.map(acquire, range(4)))
    assert loads.reads == 1
    assert len(set(map(id, sessions))) == 1


def test_a_failed_load_leaves_nothing_and_does_not_spoil_the_next() -> None:
    pool = SessionPool()
    key = key_of(linear(W))
    with pytest.raises(SessionError):
        pool.acquire(key, lambda: Model(b"garbage"), nothing)
    assert pool.count == 0
    pool.release(pool.acquire(key, lambda: Model(linear(W)), nothing))
    assert pool.count == 0


def test_a_failed_check_of_a_shared_session_releases_it_for_the_caller_alone() -> None:
    pool, loads = SessionPool(), Loads(linear(W))
    session = pool.acquire(key_of(loads.data), loads.read, loads.check)

    def damaged() -> None:
        raise OSError("damaged")

    with pytest.raises(OSError, match="damaged"):
        pool.acquire(session.key, loads.read, damaged)
    assert pool.count == 1
    pool.release(session)
    assert pool.count == 0


def test_external_files_count_as_held() -> None:
    pool = SessionPool()
    data, content = with_external(linear(W), "w")
    digest = hashlib.sha256(content).hexdigest()
    key = SessionKey(hashlib.sha256(data).hexdigest(), (("w", digest),))
    session = pool.acquire(key, lambda: Model(data, {"w": content}), nothing)
    assert pool.holds(digest)
    assert pool.bytes == len(data) + len(content)
    pool.release(session)


def test_workers_are_shared_and_end_with_the_last_user() -> None:
    pool = SessionPool()
    first, second = pool.workers.acquire(2), pool.workers.acquire(2)
    assert first is second
    assert pool.workers.acquire(1) is not first
    pool.workers.release(2)
    assert first.submit(len, "ab").result() == 2
    pool.workers.release(2)
    with pytest.raises(RuntimeError):
        first.submit(len, "ab")
    assert pool.workers.acquire(2) is not first
