"""Plans of a loaded version: chosen by measuring, dropped with a reason, remembered."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from onnx import ModelProto, helper

from model_repo import Batching, Provider, Repository, Weighted
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import Array, Feeds
from server.runtime.plans import candidates
from server.runtime.plans import choice as planning
from server.runtime.plans.plan import Slot
from server.runtime.prediction import Execution
from server.runtime.sessions.background_threads import NICENESS
from server.runtime.sessions.session import Session
from tests.graphs import coded, softmax_linear
from tests.repositories import Spec, publish
from tests.server.runtime.loading import PLANS, TWO, W, load, three


def test_a_change_of_weights_loads_nothing_and_measures_nothing_again(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {"a": Spec(coded(1), weight=1.0), "b": Spec(coded(3), weight=1.0)}, Weighted())
    publish(tmp_path, "tiny", {"a": Spec(coded(1), weight=1.0), "b": Spec(coded(3), weight=3.0)}, Weighted())
    first = load(tmp_path, pool)
    loaded = pool.count
    second = load(tmp_path, pool, version=2)
    assert pool.count == loaded
    assert second.plan == first.plan
    assert second.plan_report is first.plan_report
    x = np.ones((1, 1), np.float32)
    answers = [one.predict({"x": x}, ["value"]).outputs["value"].tolist() for one in (first, second)]
    assert answers == [[2.0], [2.5]]
    second.close()
    first.close()


def test_the_fastest_plan_is_kept_with_figures_for_all(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", three(), batching=Batching(max_batch_rows=16))
    ensemble = LoadedEnsemble.open(Repository(tmp_path).open("tiny", 1), pool, TWO)
    assert (ensemble.plan, ensemble.seconds(1), ensemble.plan_report) == ("sequential", 0.0, {})
    ensemble.choose_plan()
    assert list(ensemble.plan_report) == PLANS
    assert all(list(figures) == [1, 8, 16] for figures in ensemble.plan_report.values())
    assert ensemble.plan in PLANS
    assert ensemble.plan_problems == {}
    assert all(ensemble.seconds(rows) > 0 for rows in (1, 5, 16, 100))
    assert ensemble.lanes == 2
    ensemble.close()


def test_plans_that_cannot_be_had_say_why(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {"only": softmax_linear(W[0])})
    ensemble = load(tmp_path, pool)
    assert ensemble.plan == "sequential"
    assert ensemble.plan_problems == {"parallel": "there is one member", "merged": "there is one member"}
    ensemble.close()
    publish(tmp_path, "tiny", three())
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=1), version=2)
    assert ensemble.plan_problems == {"parallel": "the thread budget allows one member at a time"}
    ensemble.close()


def test_members_on_different_providers_are_not_merged(tmp_path: Path, pool: SessionPool) -> None:
    nope = [Provider(name="NopeExecutionProvider")]
    publish(tmp_path, "tiny", {"cpu": softmax_linear(W[0]), "gpu": Spec(softmax_linear(W[1]), providers=nope)})
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan="merged"))
    assert ensemble.plan == "sequential"
    assert ensemble.plan_problems["merged"] == "members 'cpu' and 'gpu' run on different execution providers"
    ensemble.close()


def test_a_merged_graph_that_gives_other_values_is_dropped(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {"dice": random_values(), "same": coded(2)})
    ensemble = LoadedEnsemble.open(Repository(tmp_path).open("tiny", 1), pool, RuntimeOptions(cores=2, plan="merged"))
    ensemble.choose_plan()
    assert ensemble.plan == "sequential"
    assert ensemble.plan_problems == {"merged": "member 'dice' gives other values inside the merged graph"}
    ensemble.close()


def random_values() -> bytes:
    """A member that never gives the same twice."""
    model = ModelProto.FromString(coded(2))
    model.graph.node.insert(0, helper.make_node("RandomUniformLike", ["x"], ["r"]))
    model.graph.node[1].input[0] = "r"
    data: bytes = model.SerializeToString()
    return data


def test_loading_and_closing_leaves_no_threads(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", three())
    before = set(threading.enumerate())
    for _ in range(3):
        load(tmp_path, pool, RuntimeOptions(cores=2, plan="parallel")).close()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in left)


def retrained(seed: int) -> dict[str, bytes | Spec]:
    """Members of the same make with other weights."""
    rng = np.random.default_rng(seed)
    return {name: softmax_linear(rng.normal(size=(3, 4))) for name in ("cnn", "rnn", "rf")}


def test_new_members_of_the_same_make_are_run_as_those_before(
    tmp_path: Path, pool: SessionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "tiny", retrained(1))
    publish(tmp_path, "tiny", retrained(2))
    first = load(tmp_path, pool)

    def measured(*_: object) -> NoReturn:
        raise AssertionError("plans were measured again")

    monkeypatch.setattr(planning, "compare", measured)
    monkeypatch.setattr(planning, "warm_up", measured)
    second = load(tmp_path, pool, version=2)
    assert (second.plan, second.lanes, second.threads) == (first.plan, first.lanes, first.threads)
    assert second.plan_report == first.plan_report
    assert second.seconds(5) == first.seconds(5)
    second.close()
    first.close()
    assert pool.count == 0


def test_members_of_another_make_are_measured(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", retrained(1))
    publish(tmp_path, "tiny", {name: retrained(2)[name] for name in ("cnn", "rnn")})
    first, second = load(tmp_path, pool), load(tmp_path, pool, version=2)
    assert second.plan_report is not first.plan_report
    second.close()
    first.close()


def test_a_merged_graph_of_new_members_is_checked_though_the_plan_is_taken_over(
    tmp_path: Path, pool: SessionPool
) -> None:
    options = RuntimeOptions(cores=2, plan="merged")
    steady = {"a": coded(2), "b": coded(3)}
    publish(tmp_path, "tiny", steady)
    first = load(tmp_path, pool, options)
    assert first.plan == "merged"
    checked: list[str] = []
    original = candidates.check_equal

    def counted(slots: Sequence[Slot], given: Sequence[Array | None], separate: Execution, place: str) -> None:
        checked.append(place)
        original(slots, given, separate, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "check_equal", counted)
        publish(tmp_path, "tiny", {"a": Spec(coded(2), weight=2.0), "b": Spec(coded(3), weight=1.0)}, Weighted())
        load(tmp_path, pool, options, version=2).close()
        assert checked == [], "the same members were merged and checked before"
        publish(tmp_path, "tiny", {"a": coded(4), "b": coded(5)})
        third = load(tmp_path, pool, options, version=3)
        assert (third.plan, checked) == ("merged", ["inside the merged graph"] * 3)
    third.close()
    first.close()


def test_what_loading_computes_has_a_low_priority_and_what_requests_use_the_usual(
    tmp_path: Path, pool: SessionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("threads have priorities of their own on Linux only")
    publish(tmp_path, "tiny", three())
    pool.compute_in_background(1)
    before = set(os.listdir("/proc/self/task"))
    usual = priority()
    ran: set[int] = set()
    run = Session.run

    def noted(self: Session, outputs: list[str], feeds: Feeds) -> list[Array]:
        if not threading.current_thread().name.startswith("tutti-member"):
            ran.add(priority())
        return run(self, outputs, feeds)

    monkeypatch.setattr(Session, "run", noted)
    opened = load(tmp_path, pool, RuntimeOptions(cores=4, plan="parallel", lanes=2))
    (background,) = [t.native_id for t in threading.enumerate() if t.name.startswith("tutti-background")]
    assert ran == {usual + NICENESS}
    assert (opened.plan, opened.threads) == ("parallel", 2)
    made = set(os.listdir("/proc/self/task")) - before - {str(background)}
    assert len(made) >= 5, "two workers and three members with a thread besides the caller's"
    assert {os.getpriority(os.PRIO_PROCESS, int(each)) for each in made} == {usual}
    opened.close()
    pool.close()


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
