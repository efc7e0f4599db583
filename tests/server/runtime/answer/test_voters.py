"""Members that weigh nothing are not computed for an answer that they have no part in, and checked all the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_repo import Fusion, Geometric, Mean, Vote, Weighted
from server.errors import LoadError
from server.metrics import Metrics
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import Array, Feeds
from server.runtime.options import PlanName
from server.runtime.sessions.session import Session
from server.serving.servable import Servable
from tests.graphs import linear, raising_above, softmax_linear
from tests.repositories import Spec, publish
from tests.server.runtime.loading import PLANS, W, load, rows_of

WEIGHTS = {"one": 3.0, "idle": 0.0, "two": 1.0, "other": 0.0}
OUTPUTS = ("probabilities", "label", "confidence", "agreement", "entropy", "mutual_information")


def members(**models: bytes) -> dict[str, bytes | Spec]:
    made = {name: softmax_linear(W[k]) for k, name in enumerate(WEIGHTS)} | models
    return {name: Spec(made[name], weight=WEIGHTS[name]) for name in WEIGHTS}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was run, by its digest."""
    counted: Counter[str] = Counter()
    run = Session.run

    def noted(self: Session, outputs: list[str], feeds: Feeds) -> list[Array]:
        counted[self.key.sha256] += 1
        return run(self, outputs, feeds)

    monkeypatch.setattr(Session, "run", noted)
    return counted


def ran(ensemble: LoadedEnsemble, runs: Counter[str], *outputs: str, feeds: Feeds | None = None) -> set[str]:
    """The members that one prediction ran one by one."""
    runs.clear()
    ensemble.predict(feeds or rows_of(5), outputs)
    return {member.name for member in ensemble.manifest.members if runs[member.sha256]}


@pytest.mark.parametrize("plan", PLANS)
def test_only_members_with_a_share_are_run_unless_all_are_asked_for(
    tmp_path: Path, runs: Counter[str], plan: PlanName
) -> None:
    publish(tmp_path, "tiny", members(), Weighted())
    ensemble = load(tmp_path, SessionPool(), RuntimeOptions(cores=2, plan=plan))
    assert ensemble.voters == ("one", "two")
    voters = set() if plan == "merged" else {"one", "two"}
    assert ran(ensemble, runs, *OUTPUTS) == voters
    assert ran(ensemble, runs, "label", "members") == voters | {"idle", "other"}
    ensemble.close()


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("fusion", [Weighted(), Geometric()])
def test_the_answer_is_the_same_whoever_asks_for_members_beside_it(
    tmp_path: Path, plan: PlanName, fusion: Fusion
) -> None:
    publish(tmp_path, "tiny", members(), fusion)
    ensemble = load(tmp_path, SessionPool(), RuntimeOptions(cores=2, plan=plan))
    feeds = rows_of(7)
    without, with_all = ensemble.predict(feeds, OUTPUTS), ensemble.predict(feeds, (*OUTPUTS, "members"))
    assert with_all.outputs["members"].shape == (7, 4, 4)
    assert without.answered is with_all.answered is None
    for name in OUTPUTS:
        if without.outputs[name].dtype.kind == "f":
            np.testing.assert_allclose(without.outputs[name], with_all.outputs[name], atol=1e-6)
        else:
            assert without.outputs[name].tolist() == with_all.outputs[name].tolist()
    ensemble.close()


@pytest.mark.parametrize("fusion", [Mean(), Vote()])
def test_rules_that_count_every_member_run_every_member(tmp_path: Path, runs: Counter[str], fusion: Fusion) -> None:
    publish(tmp_path, "tiny", members(), fusion)
    ensemble = load(tmp_path, SessionPool(), RuntimeOptions(cores=1, plan="sequential"))
    assert ran(ensemble, runs, "label") == set(WEIGHTS)
    ensemble.close()


def test_a_required_member_is_run_whatever_it_weighs(tmp_path: Path, runs: Counter[str]) -> None:
    given = members()
    given["idle"] = Spec(softmax_linear(W[1]), weight=0.0, required=True)
    publish(tmp_path, "tiny", given, Weighted())
    ensemble = load(tmp_path, SessionPool(), RuntimeOptions(cores=1, plan="sequential"))
    assert ran(ensemble, runs, "label") == {"one", "idle", "two"}
    ensemble.close()


def test_the_spread_of_a_regression_is_that_of_all_members(tmp_path: Path, runs: Counter[str]) -> None:
    given = {name: Spec(linear(W[k][:, :1]), weight=WEIGHTS[name]) for k, name in enumerate(WEIGHTS)}
    publish(tmp_path, "tiny", given, Weighted())
    ensemble = load(tmp_path, SessionPool(), RuntimeOptions(cores=1, plan="sequential"))
    assert ran(ensemble, runs, "value") == {"one", "two"}
    assert ran(ensemble, runs, "value", "std") == set(WEIGHTS)
    ensemble.close()


@pytest.mark.parametrize("plan", PLANS)
def test_where_a_member_with_a_share_fails_the_others_are_asked_too(
    tmp_path: Path, runs: Counter[str], plan: PlanName
) -> None:
    """Two of three still make the quorum, and where nobody with a share is left the others count alike."""
    given = members(one=raising_above(5.0, W[0]), two=raising_above(8.0, W[2]))
    publish(tmp_path, "tiny", given, Weighted(), quorum=2)
    ensemble = load(tmp_path, SessionPool(), RuntimeOptions(cores=2, plan=plan))
    alone = {name: ensemble.predict({"x": np.array([[1, 0, 0]], np.float32)}, ("members",)) for name in ("members",)}
    assert alone["members"].answered is None

    feeds = {"x": np.array([[6.0, 0, 0]], np.float32)}
    assert ran(ensemble, runs, "probabilities", feeds=feeds) >= {"two", "idle", "other"}
    one = ensemble.predict(feeds, ("probabilities", "members"))
    assert one.answered is not None
    assert one.answered[:, 0].tolist() == [False, True, True, True]
    assert one.usable is None
    np.testing.assert_allclose(one.outputs["probabilities"], one.outputs["members"][:, 2], atol=1e-6)

    both = ensemble.predict({"x": np.array([[9.0, 0, 0]], np.float32)}, ("probabilities", "members"))
    assert both.answered is not None
    assert both.answered[:, 0].tolist() == [False, True, False, True]
    assert both.usable is None
    np.testing.assert_allclose(
        both.outputs["probabilities"], both.outputs["members"][:, [1, 3]].mean(axis=1), atol=1e-6
    )
    ensemble.close()


def test_the_golden_check_holds_them_to_their_answers(tmp_path: Path) -> None:
    wrong = np.full((4, 4, 4), 0.25, np.float32)
    publish(tmp_path, "good", members(), Weighted())
    publish(tmp_path, "tiny", members(), Weighted(), golden={"members": _with(tmp_path, wrong)})
    with pytest.raises(LoadError, match="member 'idle' does not reproduce golden row"):
        load(tmp_path, SessionPool())


def _with(root: Path, wrong: Array) -> Array:
    """The members' golden answers, those of the second replaced."""
    import io

    from model_repo import Repository

    arrays = np.load(io.BytesIO(Repository(root).open("good", 1).read("golden.npz")))
    stored: Array = arrays["members"].copy()
    stored[:, 1] = wrong[:, 1]
    return stored


def test_new_weights_take_members_in_and_out(tmp_path: Path, runs: Counter[str]) -> None:
    """The versions share their sessions; how their members were run before holds only for the same ones."""
    pool = SessionPool()
    publish(tmp_path, "tiny", members(), Weighted())
    given = {name: Spec(softmax_linear(W[k]), weight=1.0) for k, name in enumerate(WEIGHTS)}
    publish(tmp_path, "tiny", given, Weighted())
    publish(tmp_path, "tiny", members(), Weighted())
    first, all_of_them, again = (load(tmp_path, pool, RuntimeOptions(cores=2), version) for version in (1, 2, 3))
    assert (first.voters, all_of_them.voters, again.voters) == (("one", "two"), tuple(WEIGHTS), ("one", "two"))
    feeds = rows_of(3)
    given_first, given_again = (one.predict(feeds, OUTPUTS).outputs["probabilities"] for one in (first, again))
    np.testing.assert_allclose(given_first, given_again, atol=1e-6)
    for one in (first, all_of_them, again):
        one.close()
    assert pool.count == 0


def test_the_quality_metrics_do_not_run_them(tmp_path: Path, runs: Counter[str]) -> None:
    publish(tmp_path, "tiny", members(), Weighted())

    async def asked() -> tuple[Any, ...]:
        ensemble = load(tmp_path, SessionPool(), RuntimeOptions(cores=1, plan="sequential"))
        with ThreadPoolExecutor(1) as threads:
            servable = Servable(ensemble, threads, Metrics())
            runs.clear()
            for _ in range(3):
                await servable.submit(dict(rows_of(2)), 2, ("label",), servable.deadline(None))
            await servable.drain()
            told = servable.metrics.quality_rows.value
            names = {m.name for m in ensemble.manifest.members if runs[m.sha256]}
            servable.free()
        return told, names

    told, names = asyncio.run(asked())
    assert told >= 2
    assert names == {"one", "two"}
