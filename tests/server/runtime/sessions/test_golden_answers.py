"""Golden rows that shared sessions have answered are not computed again, and are held against the new version's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_repo import Repository, Weighted
from server.errors import LoadError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.datatypes import Array, Feeds
from server.runtime.sessions.golden_answers import MOST_BYTES, MOST_KEPT, Recollection
from tests.graphs import softmax_linear
from tests.repositories import Spec, publish
from tests.server.runtime.loading import W

ONE = RuntimeOptions(cores=1)


class Counted:
    """Doubles what it is given, and counts."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, outputs: list[str], feeds: Feeds) -> list[Array]:
        self.runs += 1
        return [feeds["x"] * 2]


def weighted(root: Path, second: float, golden: dict[str, Array] | None = None) -> None:
    members = {"a": Spec(softmax_linear(W[0]), weight=1.0), "b": Spec(softmax_linear(W[1]), weight=second)}
    publish(root, "tiny", members, Weighted(), golden=golden)


def test_a_version_that_shares_its_members_computes_no_golden_row(tmp_path: Path, pool: SessionPool) -> None:
    weighted(tmp_path, 1.0)
    weighted(tmp_path, 3.0)
    first, second = (LoadedEnsemble.open(Repository(tmp_path).open("tiny", n), pool, ONE) for n in (1, 2))
    first.check_golden()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.runtime.sessions.session.Session.run", lambda *_: pytest.fail("a member was run"))
        second.check_golden()
    second.close()
    first.close()


@pytest.mark.parametrize("array", ["members", "fused"])
def test_its_own_golden_answers_are_checked_all_the_same(tmp_path: Path, pool: SessionPool, array: str) -> None:
    weighted(tmp_path, 1.0)
    wrong = {"members": np.full((4, 2, 4), 0.25, np.float32), "fused": np.full((4, 4), 0.25, np.float32)}
    weighted(tmp_path, 3.0, golden={array: wrong[array]})
    first, second = (LoadedEnsemble.open(Repository(tmp_path).open("tiny", n), pool, ONE) for n in (1, 2))
    first.check_golden()
    with pytest.raises(LoadError, match="does not reproduce"):
        second.check_golden()
    second.close()
    first.close()


def test_other_rows_names_shapes_and_outputs_are_computed() -> None:
    recollection, run = Recollection(), Counted()
    x = np.arange(6, dtype=np.float32)
    for outputs, feeds in (
        (["y"], {"x": x}),
        (["y"], {"x": x + 1}),
        (["y"], {"x": x.reshape(2, 3)}),
        (["z"], {"x": x}),
    ):
        before = run.runs
        for _ in range(2):
            np.testing.assert_array_equal(recollection.ask(run, outputs, feeds)[0], feeds["x"] * 2, strict=True)
        assert run.runs == before + 1


def test_the_newest_few_are_kept_and_large_answers_are_not() -> None:
    recollection, run = Recollection(), Counted()
    for number in range(MOST_KEPT + 1):
        recollection.ask(run, ["y"], {"x": np.full(3, number, np.float32)})
    for number in (MOST_KEPT, 0):
        recollection.ask(run, ["y"], {"x": np.full(3, number, np.float32)})
    assert run.runs == MOST_KEPT + 2, "the newest is there, the oldest is not"
    for _ in range(2):
        recollection.ask(run, ["y"], {"x": np.zeros(MOST_BYTES // 4 + 1, np.float32)})
    assert run.runs == MOST_KEPT + 4


def test_what_fails_and_strings_are_asked_again(tmp_path: Path) -> None:
    recollection, run = Recollection(), Counted()

    def failing(outputs: list[str], feeds: Feeds) -> list[Array]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        recollection.ask(failing, ["y"], {"x": np.zeros(3, np.float32)})
    recollection.ask(run, ["y"], {"x": np.zeros(3, np.float32)})
    words = {"x": np.array(["a"], object)}
    for _ in range(2):
        recollection.ask(run, ["y"], words)
    assert run.runs == 3
