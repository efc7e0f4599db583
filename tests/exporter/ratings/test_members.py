"""Members for pairs: right for what is known, sensible for what is not, and the same as ONNX."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from exporter.errors import TrainingError
from exporter.gate.inference import Graph
from exporter.gate.parity import check_parity
from exporter.gate.sweep import Sweep
from exporter.members.base import Setting, Trained, Training
from exporter.ratings.families import Baseline, Collaborative, Factors, Popularity, TwoTower
from exporter.ratings.networks.ids import IdPlaces
from exporter.ratings.networks.neighbourhood import correlations
from exporter.recipe.families import Family
from exporter.recipe.sources import Dataset, Movielens, Rows
from exporter.threads import one_thread
from tests.exporter.ratings.samples import FIRST, ITEMS, USERS, ratings, write_csv
from tests.exporter.samples import trained_alone

QUICK = Training(epochs=8, batch_rows=64, learning_rate=0.02, weight_decay=0.1)
FAMILIES = [
    Collaborative(neighbours=8, shrinkage=3.0),
    Collaborative(by="user", neighbours=8, shrinkage=3.0),
    Factors(dimensions=2, regularisation=0.5),
    TwoTower(dimensions=4, hidden=8, training=QUICK),
    Popularity(),
]
NOBODY = 10**15


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """As trainings run: on one thread, so that none waits for another."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Movielens().load(write_csv(tmp_path_factory.mktemp("pairs"), ratings()))


def parts(data: Dataset) -> tuple[Rows, Rows]:
    """Training rows and test rows."""
    return tuple(data.rows.take(np.flatnonzero(data.rows.part == part)) for part in (0, 1))  # type: ignore[return-value]  # two of them


def setting(data: Dataset, seed: int = 3) -> Setting:
    return Setting(data.tensors, data.ranges, 1, seed, "cpu", data.context, data.task)


def rated(member: Trained, *pairs: tuple[int, int, int]) -> list[float]:
    columns = np.array(pairs, dtype=np.int64).T
    inputs = dict(zip(("user", "item", "timestamp"), columns, strict=True))
    return [float(value) for value in member.predict(inputs)[:, 0]]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.family}-{getattr(family, 'by', '')}")
def test_each_family_learns_and_answers_for_unknown_users_and_films(family: Family, data: Dataset) -> None:
    fit, test = parts(data)
    member = trained_alone(family, fit, setting(data))
    values = member.predict(test.inputs)[:, 0]
    error = np.sqrt(np.square(values - test.target).mean())
    assert error < 0.95 * test.target.std()

    mean = float(fit.target.mean())
    unknown, film, user = rated(member, (NOBODY, -7, FIRST), (NOBODY, 5, FIRST), (5, NOBODY, FIRST))
    assert unknown == pytest.approx(mean, abs=0.35)
    of_film = fit.target[fit.inputs["item"] == 5].mean()
    assert abs(film - of_film) < abs(mean - of_film) + 0.35
    assert 1 <= min(unknown, film, user) <= max(unknown, film, user) <= 5


@pytest.mark.timeout(120)
@pytest.mark.parametrize("family", [FAMILIES[0], FAMILIES[3]], ids=lambda family: family.family)
def test_onnx_answers_alike(family: Family, data: Dataset) -> None:
    """The baseline, one table and one network; factors and popularity go through the export's gate."""
    fit, test = parts(data)
    member = trained_alone(family, fit, setting(data))
    graph = Graph(member.to_onnx())
    assert set(graph.inputs) == {"user", "item", "timestamp"}
    parity = check_parity(member.predict, graph, Sweep.of(test, data), "value", member.tolerance)
    assert parity.rows == len(test) + 6


def test_an_unknown_user_gets_the_films_own_mean_and_an_unknown_film_the_users(data: Dataset) -> None:
    fit, _ = parts(data)
    member = trained_alone(
        Popularity(baseline=Baseline(item_shrinkage=0.0, user_shrinkage=0.0, periods=1)), fit, setting(data)
    )
    best, worst = (
        max(range(1, ITEMS + 1), key=lambda item: sign * fit.target[fit.inputs["item"] == item].mean())
        for sign in (1, -1)
    )
    high, low, nothing = rated(member, (NOBODY, best, 0), (NOBODY, worst, 0), (NOBODY, NOBODY, 0))
    assert low < nothing < high
    assert nothing == pytest.approx(fit.target.mean(), abs=1e-5)


def test_a_film_without_ratings_is_known_by_its_side_features(data: Dataset) -> None:
    """Films of one genre are made much better: one that nobody has rated must profit, an unknown id must not."""
    fit, _ = parts(data)
    fun = fit.inputs["item"] % 2 == 1
    better = np.where(fun, 5.0, 1.5).astype(np.float32)
    changed = Rows(fit.inputs, better, fit.ids, fit.part, fit.group)
    spec = TwoTower(dimensions=4, hidden=16, dropout=0.0, training=QUICK, hidden_ids=0.5,
                    baseline=Baseline(sitting_s=None, item_shrinkage=1e9))  # fmt: skip
    member = trained_alone(spec, changed, setting(data))
    unrated, unknown = rated(member, (5, ITEMS + 1, FIRST), (5, NOBODY, FIRST))
    assert (ITEMS + 1) % 2 == 1
    assert unrated > unknown + 0.5


def test_the_sitting_matters_only_near_in_time(data: Dataset) -> None:
    fit, _ = parts(data)
    times = np.sort(fit.inputs["timestamp"][fit.inputs["user"] == 7])
    sad = Rows(fit.inputs, np.where(fit.inputs["timestamp"] == times[0], 1.0, fit.target).astype(np.float32),
               fit.ids, fit.part, fit.group)  # fmt: skip
    # Without any time a user's own bias already holds the mean: what is left is the mood of the minute.
    member = trained_alone(
        Popularity(baseline=Baseline(periods=1, sitting_s=5.0, sitting_shrinkage=0.1)), sad, setting(data)
    )
    then, later, never = rated(member, (7, NOBODY, int(times[0])), (7, NOBODY, int(times[-1]) + 10**6), (7, NOBODY, 0))
    assert then < later - 0.3
    assert later == pytest.approx(never, abs=1e-6)


def test_a_correlation_is_that_of_common_ratings() -> None:
    random = np.random.default_rng(0)
    rated_by = (random.random((40, 5)) < 0.7).astype(np.float64)
    deviation = random.normal(size=(40, 5)) * rated_by
    found = correlations(deviation, rated_by, shrinkage=10.0)
    both = (rated_by[:, 1] * rated_by[:, 3]).astype(bool)
    a, b = deviation[both, 1], deviation[both, 3]
    expected = a @ b / np.sqrt(a @ a * (b @ b)) * both.sum() / (both.sum() + 10)
    assert found[1, 3] == pytest.approx(max(expected, 0.0))
    assert not np.diag(found).any()


@pytest.mark.parametrize("ids", [[3, 4, 9], [-5, 0, 7, 2**40, 2**62], [11], list(range(0, 90_000, 3000))])
def test_ids_become_places_whether_close_together_or_far_apart(ids: list[int]) -> None:
    places = IdPlaces(np.array(ids, dtype=np.int64))
    asked = torch.tensor([*ids, -(2**63), 2**63 - 1, ids[0] - 1, ids[-1] + 1, ids[0] + 1])
    expected = [ids.index(one) if one in ids else len(ids) for one in asked.tolist()]
    assert places(asked).tolist() == expected


def test_a_seed_gives_the_same_answers(data: Dataset) -> None:
    fit, _ = parts(data)
    family = Factors(dimensions=2, iterations=2)
    one, two, three = (trained_alone(family, fit, setting(data, seed)).predict(fit.inputs) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_tables_that_are_too_large_are_refused(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.ratings.networks.neighbourhood.MOST_CELLS", 100)
    with pytest.raises(TrainingError, match=rf"{USERS + 1} users and {ITEMS + 1} items make a table of"):
        Collaborative().train(parts(data)[0], setting(data))
