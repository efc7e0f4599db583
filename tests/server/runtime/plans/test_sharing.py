"""Members of one file: run once by every plan, blamed together, and one copy in the merged graph."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper

from server.runtime import RuntimeOptions, SessionPool
from server.runtime.datatypes import Array, Feeds
from server.runtime.options import PlanName
from server.runtime.plans.merge import Part, merge
from server.runtime.plans.plan import Parallel, Plan, Sequential, Slot
from server.runtime.sessions.session import Model, RunError, Session
from tests.graphs import branching, heads, softmax_linear
from tests.repositories import Spec, opened, publish
from tests.server.runtime.loading import PLANS, TWO, W, load, rows_of
from tests.server.runtime.manifests import member

RANDOM = np.random.default_rng(0)
TRUNK = RANDOM.normal(size=(3, 8))
HEADS = [RANDOM.normal(size=(8, 4)) for _ in range(3)]
SHARED = heads(TRUNK, HEADS)
X = RANDOM.normal(size=(5, 3)).astype(np.float32)


class Counting(Session):
    """A session that remembers which outputs were asked for, run by run; it can be told to fail."""

    def __init__(self, data: bytes) -> None:
        other = opened(data)
        super().__init__(other.key, Model(data))
        self.asked: list[list[str]] = []
        self.fails = False

    def run(self, outputs: list[str], feeds: Feeds) -> list[Array]:
        self.asked.append(outputs)
        if self.fails:
            raise RunError("error", "told to")
        return super().run(outputs, feeds)


def shared_slots(session: Session) -> list[Slot]:
    return [Slot(member(f"head{k}", output=f"y{k}"), session) for k in range(3)]


def three_heads() -> dict[str, bytes | Spec]:
    """Three members of one file, and one of its own."""
    shared = {f"head{k}": Spec(SHARED, output=f"y{k}", file="trunk") for k in range(3)}
    return {"alone": softmax_linear(W[0]), **shared}


def plans(slots: list[Slot]) -> list[Plan]:
    return [Sequential(slots), Parallel(slots, ThreadPoolExecutor(2))]


@pytest.mark.parametrize("which", [0, 1], ids=["sequential", "parallel"])
def test_a_shared_file_runs_once_with_all_outputs_that_are_needed(which: int) -> None:
    session, other = Counting(SHARED), Counting(softmax_linear(W[0]))
    slots = [*shared_slots(session)[:1], Slot(member("alone"), other), *shared_slots(session)[1:]]
    execution = plans(slots)[which].run({"x": X})
    assert (session.asked, other.asked) == ([["y0", "y1", "y2"]], [["y"]])
    expected = opened(SHARED).run(["y0", "y1", "y2"], {"x": X})
    for given, one in zip([execution.raw[k] for k in (0, 2, 3)], expected, strict=True):
        assert given is not None
        np.testing.assert_array_equal(given, one)
    assert execution.seconds[0] == execution.seconds[2] == execution.seconds[3] > 0


@pytest.mark.parametrize("which", [0, 1], ids=["sequential", "parallel"])
def test_a_failing_file_is_every_one_of_its_members_fault(which: int) -> None:
    session = Counting(SHARED)
    session.fails = True
    slots = [*shared_slots(session), Slot(member("alone"), opened(softmax_linear(W[0])))]
    execution = plans(slots)[which].run({"x": X})
    assert [output is None for output in execution.raw] == [True, True, True, False]
    assert [(failure.member, failure.detail) for failure in execution.failures] == [
        (f"head{k}", "told to") for k in range(3)
    ]


def test_members_that_take_the_same_output_ask_for_it_once() -> None:
    session = Counting(SHARED)
    slots = [Slot(member(name, output="y1"), session) for name in ("hot", "cold")]
    execution = Sequential(slots).run({"x": X})
    assert session.asked == [["y1"]]
    assert execution.raw[0] is execution.raw[1]


def test_a_file_that_is_fed_from_two_inputs_runs_for_each() -> None:
    session = Counting(SHARED)
    slots = [
        Slot(member("left", output="y0", inputs={"x": "a"}), session),
        Slot(member("right", output="y0", inputs={"x": "b"}), session),
    ]
    execution = Sequential(slots).run({"a": X, "b": -X})
    assert session.asked == [["y0"], ["y0"]]
    left, right = (given for given in execution.raw if given is not None)
    assert not np.array_equal(left, right)


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_answers_what_separate_copies_answer(tmp_path: Path, pool: SessionPool, plan: PlanName) -> None:
    separate: dict[str, bytes | Spec] = {f"head{k}": Spec(SHARED, output=f"y{k}") for k in range(3)}
    publish(tmp_path, "tiny", three_heads())
    publish(tmp_path, "tiny", {"alone": softmax_linear(W[0]), **separate})
    feeds = rows_of(9)
    answers = []
    for version in (1, 2):
        ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan=plan), version)
        assert ensemble.plan == plan
        answers.append(ensemble.predict(feeds, ["probabilities", "members"]).outputs)
        ensemble.close()
    for name, given in answers[0].items():
        np.testing.assert_allclose(given, answers[1][name], rtol=1e-6, atol=1e-7)


def test_a_shared_file_is_one_session(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", three_heads())
    ensemble = load(tmp_path, pool, RuntimeOptions(cores=2, plan="sequential"))
    assert pool.count == 2
    ensemble.close()


def nodes_of(data: bytes) -> Counter[str]:
    return Counter(node.op_type for node in ModelProto.FromString(data).graph.node)


def parts_of(model: bytes, outputs: list[str]) -> list[Part]:
    return [Part(f"m{k}", Model(model), {"x": "x"}, output) for k, output in enumerate(outputs)]


def check(parts: list[Part]) -> Counter[str]:
    """The merged graph gives what each member gives alone; its nodes."""
    model = merge(parts)
    merged = opened(model)
    given = merged.run([entry.name for entry in merged.outputs], {"x": X})
    assert len(given) == len(parts)
    for part, one in zip(parts, given, strict=True):
        np.testing.assert_allclose(one, opened(part.model).run([part.output], {"x": X})[0], rtol=1e-6, atol=1e-7)
    return nodes_of(bytes(model.data))


def test_the_merged_graph_has_a_shared_trunk_once() -> None:
    nodes = check(parts_of(SHARED, ["y0", "y1", "y2"]))
    assert nodes == {"Identity": 1, "Tanh": 1, "MatMul": 1 + 3, "Softmax": 3}


def test_heads_that_nobody_takes_are_left_out() -> None:
    assert check(parts_of(SHARED, ["y0", "y2"]))["Softmax"] == 2


def test_two_members_may_take_the_same_output() -> None:
    assert check(parts_of(SHARED, ["y1", "y0", "y1"])) == {"Identity": 2, "Tanh": 1, "MatMul": 3, "Softmax": 2}


def test_equal_work_in_different_files_is_done_once() -> None:
    others = [heads(TRUNK, [head]) for head in HEADS]
    parts = [Part(f"m{k}", Model(data), {"x": "x"}, "y0") for k, data in enumerate(others)]
    assert check(parts) == {"Identity": 1, "Tanh": 1, "MatMul": 1 + 3, "Softmax": 3}
    [*weights] = ModelProto.FromString(bytes(merge(parts).data)).graph.initializer
    assert len(weights) == 1 + 3


def test_work_that_differs_in_a_weight_or_an_attribute_is_not_merged() -> None:
    nudged = TRUNK.copy()
    nudged[0, 0] += 1e-3
    assert check([*parts_of(SHARED, ["y0"]), *parts_of(heads(nudged, HEADS), ["y0"])])["Tanh"] == 2
    other = ModelProto.FromString(softmax_linear(W[0]))
    other.graph.node[-1].attribute[0].i = -1
    nodes = check([*parts_of(softmax_linear(W[0]), ["y"]), *parts_of(other.SerializeToString(), ["y"])])
    assert (nodes["MatMul"], nodes["Softmax"]) == (1, 2)


def test_what_a_subgraph_reads_stays_under_its_name() -> None:
    nodes = check([*parts_of(branching(W[0]), ["y"]), *parts_of(softmax_linear(W[0]), ["y"])])
    assert nodes["If"] == 1
    nodes = check([*parts_of(softmax_linear(W[0]), ["y"]), *parts_of(branching(W[0]), ["y"])])
    assert nodes["If"] == 1


def test_what_is_random_is_drawn_for_each_member() -> None:
    noisy = ModelProto.FromString(softmax_linear(W[0]))
    noise = helper.make_node("RandomNormal", [], ["noise"], shape=[1], seed=7.0, dtype=1)
    noisy.graph.node.insert(0, noise)
    noisy.graph.node[-1].input[0] = "noisy"
    noisy.graph.node.insert(3, helper.make_node("Add", ["z", "noise"], ["noisy"]))
    data = noisy.SerializeToString()
    nudged = ModelProto.FromString(data)
    nudged.doc_string = "another file"
    merged = merge([*parts_of(data, ["y"]), *parts_of(nudged.SerializeToString(), ["y"])])
    assert nodes_of(bytes(merged.data))["RandomNormal"] == 2


def test_the_merged_plan_of_a_shared_file_holds_one_graph(tmp_path: Path, pool: SessionPool) -> None:
    publish(tmp_path, "tiny", {f"head{k}": Spec(SHARED, output=f"y{k}", file="trunk") for k in range(3)})
    ensemble = load(tmp_path, pool, TWO)
    assert "merged" not in ensemble.plan_problems
    ensemble.close()
