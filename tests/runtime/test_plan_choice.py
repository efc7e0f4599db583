"""Plans of a loaded version: chosen by measuring, dropped with a reason, remembered."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from onnx import ModelProto, helper

from model_repo import (
    Batching,
    Provider,
    Repository,
    Weighted,
)
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.graphs import (
    coded,
    softmax_linear,
)
from tests.repositories import Spec, publish
from tests.runtime.loading import PLANS, TWO, W, load, three


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
