"""Lanes × threads of a loaded version: measured, told, remembered; what is left of those that lose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from model_repo import Provider, Repository, Weighted
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.options import PlanName
from server.runtime.plans import choice as planning
from server.runtime.plans.measuring import Run, Timing
from server.runtime.sessions.session import Model, Session, SessionKey
from tests.graphs import coded, linear, softmax_linear
from tests.repositories import Spec, publish
from tests.server.runtime.loading import TWO, W, load, rows_of, three

FOUR = RuntimeOptions(cores=4)


class Recording(SessionPool):
    """A pool that knows which keys it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[SessionKey] = []

    def acquire(self, key: SessionKey, read: Callable[[], Model], shared: Callable[[], None]) -> Session:
        self.keys.append(key)
        return super().acquire(key, read, shared)

    def threads(self) -> Counter[int]:
        """Sessions loaded now by their threads."""
        return Counter(session.key.threads for session in self._loaded())


class Told:
    """Stands for measuring: seconds of an idle batch, and of each under load, by the number of lanes."""

    def __init__(self, idle: Mapping[int, float], busy: Mapping[int, float | None]) -> None:
        self.asked: list[dict[Hashable, int]] = []
        self._idle, self._busy = idle, busy

    def __call__(
        self, runs: Mapping[Hashable, Run], sizes: Sequence[int], lanes: Mapping[Hashable, int]
    ) -> dict[Hashable, Timing]:
        self.asked.append(dict(lanes))
        for run in runs.values():
            run(sizes[-1])
        return {name: Timing(dict.fromkeys(sizes, self._idle[lanes[name]]), self._busy[lanes[name]]) for name in runs}

    def layouts(self) -> list[int]:
        """The most lanes of each comparison's newcomers."""
        return [lanes[next(name for name in lanes if name is not None)] for lanes in self.asked]


@pytest.fixture
def pool() -> Recording:
    return Recording()


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every member is large enough for threads."""
    monkeypatch.setattr(planning, "THREADS_PAY_S", 0.0)


def told(monkeypatch: pytest.MonkeyPatch, idle: Mapping[int, float], busy: Mapping[int, float | None]) -> Told:
    measuring = Told(idle, busy)
    monkeypatch.setattr(planning, "compare", measuring)
    return measuring


def test_small_members_are_never_opened_with_threads(tmp_path: Path, pool: Recording) -> None:
    publish(tmp_path, "tiny", three())
    ensemble = load(tmp_path, pool, FOUR)
    assert (ensemble.lanes, ensemble.threads) == (4, 1)
    assert {key.threads for key in pool.keys} == {1}
    ensemble.close()


@pytest.mark.usefixtures("large")
def test_a_layout_that_wins_takes_over_and_gives_the_old_sessions_back(
    tmp_path: Path, pool: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "tiny", three())
    rows = rows_of(5)
    plain = load(tmp_path, pool, RuntimeOptions(cores=4, lanes=4))
    expected = plain.predict(rows, ["probabilities"]).outputs["probabilities"]
    plain.close()
    measuring = told(monkeypatch, {4: 1.0, 2: 0.5, 1: 0.6}, {4: 1.0, 2: 1.0, 1: 1.0})
    ensemble = load(tmp_path, pool, FOUR)
    assert measuring.layouts() == [4, 2, 1]
    assert (ensemble.lanes, ensemble.threads) == (2, 2)
    assert set(pool.threads()) == {2}
    assert set(ensemble.plan_report) == {"sequential", "parallel", "merged"}
    assert ensemble.plan_report["merged"][1] == 0.5
    assert np.allclose(ensemble.predict(rows, ["probabilities"]).outputs["probabilities"], expected, atol=1e-6)
    ensemble.close()
    assert pool.count == 0


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("plan", ["auto", "sequential", "merged"])
def test_a_layout_that_loses_leaves_nothing(
    tmp_path: Path, pool: Recording, monkeypatch: pytest.MonkeyPatch, plan: PlanName
) -> None:
    publish(tmp_path, "tiny", three())
    measuring = told(monkeypatch, {4: 1.0, 2: 0.95}, {4: 1.0, 2: 1.0})
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=4, plan=plan))
    assert measuring.layouts()[-1] == 2
    assert (ensemble.lanes, ensemble.threads) == (4, 1)
    assert 2 in {key.threads for key in pool.keys}
    assert set(pool.threads()) == {1}
    ensemble.close()
    assert pool.count == 0


@pytest.mark.usefixtures("large")
def test_lanes_that_are_told_win_without_measuring_others(tmp_path: Path, pool: Recording) -> None:
    publish(tmp_path, "tiny", three())
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=4, lanes=2))
    assert (ensemble.lanes, ensemble.threads) == (2, 2)
    assert {key.threads for key in pool.keys} == {2}
    ensemble.close()


@pytest.mark.usefixtures("large")
def test_a_change_of_weights_opens_only_the_layout_that_was_chosen(
    tmp_path: Path, pool: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "tiny", {"a": Spec(coded(1), weight=1.0), "b": Spec(coded(3), weight=1.0)}, Weighted())
    publish(tmp_path, "tiny", {"a": Spec(coded(1), weight=1.0), "b": Spec(coded(3), weight=3.0)}, Weighted())
    measuring = told(monkeypatch, {2: 1.0, 1: 0.5}, {2: 1.0, 1: 1.0})
    first = load(tmp_path, pool, TWO)
    compared = len(measuring.asked)
    pool.keys.clear()
    second = load(tmp_path, pool, TWO, version=2)
    assert len(measuring.asked) == compared
    assert {key.threads for key in pool.keys} == {2}
    assert (second.lanes, second.threads) == (1, 2)
    answers = second.predict({"x": np.ones((1, 1), np.float32)}, ["value"]).outputs["value"]
    assert answers.tolist() == [2.5]
    first.close()
    second.close()


def test_small_members_beside_a_large_one_keep_one_thread(
    tmp_path: Path, pool: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning.Bench, "members", lambda *_: [1e-3, 3e-3])
    publish(tmp_path, "tiny", {"small": softmax_linear(W[0]), "large": softmax_linear(W[1])})
    told(monkeypatch, {2: 1.0, 1: 0.5}, {2: 1.0, 1: 1.0})
    first = load(tmp_path, pool, RuntimeOptions(cores=2, plan="sequential"))
    second = load(tmp_path, pool, RuntimeOptions(cores=2, plan="sequential"))
    assert pool.threads() == {1: 1, 2: 1}
    assert (second.lanes, second.threads) == (1, 2)
    first.close()
    second.close()


def test_the_time_of_a_full_batch_tells_members_apart(tmp_path: Path, pool: Recording) -> None:
    publish(tmp_path, "tiny", {"narrow": linear(np.ones((3, 1))), "wide": through(200_000)})
    opened = LoadedEnsemble.open(Repository(tmp_path).open("tiny", 1), pool, TWO)
    bench = planning.Bench(rows_of(2), lambda plan, feeds: plan.run(feeds), 64, pool)
    narrow, wide = bench.members(opened._slots)
    assert wide > 10 * narrow
    opened.close()


def through(width: int) -> bytes:
    """[n, 3] → [n, 1] by way of [n, width]."""
    model = ModelProto.FromString(linear(np.ones((3, width)) / width))
    model.graph.node[-1].output[0] = "h"
    model.graph.node.append(helper.make_node("MatMul", ["h", "V"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((width, 1), np.float32), "V"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.usefixtures("large")
def test_a_layout_that_gives_other_values_is_dropped(tmp_path: Path, pool: Recording) -> None:
    model = ModelProto.FromString(coded(2))
    model.graph.node.insert(0, helper.make_node("RandomUniformLike", ["x"], ["r"]))
    model.graph.node[1].input[0] = "r"
    publish(tmp_path, "tiny", {"dice": model.SerializeToString()})
    ensemble = LoadedEnsemble.open(Repository(tmp_path).open("tiny", 1), pool, TWO)
    ensemble.choose_plan()
    assert ensemble.lanes == 2
    assert ensemble.plan_problems["1 lane × 2 threads"] == "member 'dice' gives other values with 2 threads"
    assert set(pool.threads()) == {1}
    ensemble.close()


@pytest.mark.usefixtures("large")
def test_a_layout_that_cannot_be_opened_is_dropped(tmp_path: Path, pool: Recording) -> None:
    publish(tmp_path, "tiny", {"only": softmax_linear(W[0])})
    ensemble = LoadedEnsemble.open(Repository(tmp_path).open("tiny", 1), pool, TWO)
    ensemble.check_golden()
    (tmp_path / "tiny/1/members/only.onnx").write_bytes(b"gone bad")
    ensemble.choose_plan()
    assert (ensemble.lanes, ensemble.threads) == (2, 1)
    assert "members/only.onnx" in ensemble.plan_problems["1 lane × 2 threads"]
    assert ensemble.predict(rows_of(2), ["label"]).failures == ()
    ensemble.close()
    assert pool.count == 0


@pytest.mark.usefixtures("large")
def test_members_too_large_for_a_second_copy_keep_the_first_layout(
    tmp_path: Path, pool: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MAX_SECOND_BYTES", 100)
    publish(tmp_path, "tiny", three())
    ensemble = load(tmp_path, pool, TWO)
    assert ensemble.lanes == 2
    assert ensemble.plan_problems["1 lane × 2 threads"].endswith("the limit for measuring is 100")
    assert {key.threads for key in pool.keys} == {1}
    ensemble.close()


@pytest.mark.usefixtures("large")
def test_no_further_layout_is_measured_after_the_time_for_it(
    tmp_path: Path, pool: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "LAYOUTS_S", 0.0)
    publish(tmp_path, "tiny", three())
    ensemble = load(tmp_path, pool, FOUR)
    assert {key.threads for key in pool.keys} == {1}
    assert ensemble.plan_problems["2 lanes × 2 threads"] == "measuring took longer than 0 s"
    ensemble.close()


@pytest.mark.usefixtures("large")
def test_measured_in_earnest_the_budget_holds_and_the_answers_stay(tmp_path: Path, pool: Recording) -> None:
    publish(tmp_path, "tiny", three())
    ensemble = load(tmp_path, pool, FOUR)
    assert ensemble.lanes * ensemble.threads <= 4
    assert 2 in {key.threads for key in pool.keys}
    assert set(pool.threads()) == {ensemble.threads}
    assert ensemble.predict(rows_of(3), ["label"]).failures == ()
    ensemble.close()
    assert pool.count == 0


@pytest.mark.usefixtures("large")
def test_members_on_another_provider_than_the_cpu_are_not_given_threads(
    tmp_path: Path, pool: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "CPU", "NopeExecutionProvider")
    publish(tmp_path, "tiny", {"only": Spec(softmax_linear(W[0]), providers=[Provider(name="CPUExecutionProvider")])})
    ensemble = load(tmp_path, pool, TWO)
    assert {key.threads for key in pool.keys} == {1}
    ensemble.close()
