"""The pure functions on routes: what a promotion, a rollback, a canary, a shadow and a label mean."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_repo import (
    Aspired,
    Canary,
    Routes,
    RoutesError,
    promote,
    resolve,
    rollback,
    set_canary,
    set_label,
    set_shadow,
    unpin,
)
from model_repo.store.routes import MAX_HISTORY, decode_routes, protected

VERSIONS = [1, 2, 3]


def test_without_routes_the_newest_version_is_stable() -> None:
    assert resolve(Routes(), VERSIONS) == Aspired(stable=3, available=(1, 2, 3))


def test_without_versions_nothing_is_stable_and_nothing_is_wrong() -> None:
    assert resolve(Routes(), []) == Aspired()


def test_each_served_version_is_wanted_once_the_stable_first() -> None:
    routes = Routes(stable=2, canary=Canary(3, 10), shadow=3, labels={"edge": 1, "same": 2})
    aspired = resolve(routes, VERSIONS)
    assert aspired.served == (2, 1, 3)
    assert [aspired.roles(version) for version in VERSIONS] == [
        ["label edge"],
        ["stable", "label same"],
        ["canary 10%", "shadow"],
    ]


def test_a_route_to_nowhere_is_a_problem_and_the_others_still_resolve() -> None:
    routes = Routes(stable=9, canary=Canary(8, 10), shadow=7, labels={"edge": 6, "old": 1})
    assert resolve(routes, VERSIONS) == Aspired(
        labels={"old": 1},
        problem="stable is version 9, canary is version 8, shadow is version 7, label edge is version 6, "
        "which is not published; published: 1, 2, 3",
        available=(1, 2, 3),
    )


def test_a_pinned_version_without_any_published_is_a_problem() -> None:
    assert resolve(Routes(stable=1), []).problem == "stable is version 1, which is not published; published: none"


def test_a_promotion_pins_the_version_and_remembers_the_one_before() -> None:
    promoted = promote(Routes(), 2, VERSIONS)
    assert promoted == Routes(stable=2, history=(3,))
    assert promote(promoted, 1, VERSIONS) == Routes(stable=1, history=(3, 2))


def test_promoting_the_stable_version_pins_it_and_remembers_nothing() -> None:
    assert promote(Routes(), 3, VERSIONS) == Routes(stable=3)
    assert promote(Routes(stable=2, history=(1,)), 2, VERSIONS) == Routes(stable=2, history=(1,))


def test_promoting_a_canary_ends_the_canary() -> None:
    routes = Routes(stable=1, canary=Canary(2, 10), shadow=2, labels={"edge": 2})
    assert promote(routes, 2, VERSIONS) == Routes(stable=2, labels={"edge": 2}, history=(1,))


def test_promoting_another_version_leaves_the_canary() -> None:
    routes = Routes(stable=1, canary=Canary(2, 10), shadow=2)
    assert promote(routes, 3, VERSIONS).canary == Canary(2, 10)
    assert promote(routes, 3, VERSIONS).shadow == 2


def test_promoting_what_is_not_published_is_refused_with_what_is() -> None:
    with pytest.raises(RoutesError, match=r"^version 9 is not published; published: 1, 2, 3$"):
        promote(Routes(), 9, VERSIONS)


def test_the_history_keeps_the_newest_sixteen() -> None:
    routes, versions = Routes(stable=1), list(range(1, 30))
    for version in versions:
        routes = promote(routes, version, versions)
    assert routes.history == tuple(range(29 - MAX_HISTORY, 29))


def test_a_rollback_goes_back_through_the_history() -> None:
    routes = Routes(stable=3, history=(2, 1))
    routes = rollback(routes, VERSIONS)
    assert routes == Routes(stable=1, history=(2,))
    assert rollback(routes, VERSIONS) == Routes(stable=2)


def test_a_rollback_passes_over_versions_that_are_gone() -> None:
    assert rollback(Routes(stable=3, history=(1, 7, 3)), VERSIONS) == Routes(stable=1)


def test_a_rollback_without_history_pins_the_next_older_version() -> None:
    assert rollback(Routes(), VERSIONS) == Routes(stable=2)
    assert rollback(Routes(stable=2), VERSIONS) == Routes(stable=1)
    assert rollback(Routes(), [4, 9]) == Routes(stable=4)


def test_a_rollback_from_a_version_that_is_gone_is_possible() -> None:
    assert rollback(Routes(stable=9, history=(1,)), VERSIONS) == Routes(stable=1)
    assert rollback(Routes(stable=9), VERSIONS) == Routes(stable=3)


def test_a_rollback_to_the_canary_s_version_ends_the_canary() -> None:
    assert rollback(Routes(stable=3, history=(2,), canary=Canary(2, 5)), VERSIONS) == Routes(stable=2)


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ([3], "nothing to roll back to: version 3 is stable and none is older; published: 3"),
        ([], "nothing to roll back to: no version is published"),
    ],
)
def test_a_rollback_to_nowhere_is_refused(versions: list[int], message: str) -> None:
    with pytest.raises(RoutesError) as caught:
        rollback(Routes(), versions)
    assert str(caught.value) == message


def test_unpinning_follows_the_newest_version_again() -> None:
    assert unpin(Routes(stable=1, history=(2,))) == Routes(history=(2,))


def test_a_canary_is_started_changed_and_ended() -> None:
    routes = set_canary(Routes(stable=1), Canary(2, 10), VERSIONS)
    assert routes == Routes(stable=1, canary=Canary(2, 10))
    assert set_canary(routes, Canary(2, 50), VERSIONS) == Routes(stable=1, canary=Canary(2, 50))
    assert set_canary(routes, None, VERSIONS) == Routes(stable=1)


@pytest.mark.parametrize(
    ("routes", "canary", "message"),
    [
        (Routes(stable=1), Canary(9, 10), "version 9 is not published; published: 1, 2, 3"),
        (Routes(stable=1), Canary(2, 101), "canary percent is 101, expected 0 to 100"),
        (Routes(stable=1), Canary(2, float("nan")), "canary percent is nan, expected 0 to 100"),
        (Routes(stable=1), Canary(1, 10), "a canary is compared with the stable version, and 1 is the stable one"),
        (Routes(), Canary(3, 10), "a canary is compared with the stable version, and 3 is the stable one, "
                                  "because it is the newest and none is promoted; promote another one first"),
    ],
)  # fmt: skip
def test_a_canary_that_makes_no_sense_is_refused(routes: Routes, canary: Canary, message: str) -> None:
    with pytest.raises(RoutesError) as caught:
        set_canary(routes, canary, VERSIONS)
    assert str(caught.value) == message


def test_a_shadow_is_set_and_ended_and_is_not_the_stable_version() -> None:
    routes = set_shadow(Routes(stable=1), 2, VERSIONS)
    assert routes == Routes(stable=1, shadow=2)
    assert set_shadow(routes, None, VERSIONS) == Routes(stable=1)
    with pytest.raises(RoutesError, match=r"^a shadow is compared with the stable version, and 1 is the stable one$"):
        set_shadow(routes, 1, VERSIONS)


def test_a_label_is_set_moved_and_removed() -> None:
    routes = set_label(Routes(), "edge", 1, VERSIONS)
    assert routes == Routes(labels={"edge": 1})
    assert set_label(routes, "edge", 2, VERSIONS) == Routes(labels={"edge": 2})
    assert set_label(routes, "edge", None, VERSIONS) == Routes()


@pytest.mark.parametrize(
    ("label", "version", "message"),
    [
        ("edge", 9, "version 9 is not published; published: 1, 2, 3"),
        ("no", None, "no label 'no'; labels: a"),
        ("a b", 1, "label 'a b' is not a name: expected 1 to 128 letters, digits, '.', '_' or '-', "
                   "the first a letter or digit"),
    ],
)  # fmt: skip
def test_a_label_that_makes_no_sense_is_refused(label: str, version: int | None, message: str) -> None:
    with pytest.raises(RoutesError) as caught:
        set_label(Routes(labels={"a": 1}), label, version, VERSIONS)
    assert str(caught.value) == message


def test_served_versions_and_the_rollback_s_are_protected() -> None:
    routes = Routes(stable=5, canary=Canary(6, 1), shadow=7, labels={"edge": 2}, history=(1, 3, 9, 5))
    assert protected(routes, [1, 2, 3, 4, 5, 6, 7, 8]) == {5, 6, 7, 2, 3}


def test_nothing_is_known_to_be_unprotected_while_a_route_leads_nowhere() -> None:
    with pytest.raises(RoutesError, match=r"^stable is version 9, which is not published; .*; mend the routes first$"):
        protected(Routes(stable=9), VERSIONS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"stabel": 1}', "digits/routes.json: unknown field 'stabel'"
         "; did you mean 'stable'? its keys are stable, canary, shadow, labels, history, generation"),
        (b'{"stable": "1"}', "digits/routes.json: stable: expected a whole number of at least 1 or null, got \"1\""),
        (b'{"stable": 0}', "digits/routes.json: stable: expected a whole number of at least 1 or null, got 0"),
        (b'{"canary": {"version": 1, "percent": 101}}',
         "digits/routes.json: canary.percent: expected a number from 0 to 100, got 101"),
        (b'{"history": [' + b"1," * 16 + b"1]}", "digits/routes.json: history: expected a list of at most 16 entries"),
        (b"", "digits/routes.json: is not JSON: Input data was truncated"),
        (b"\xff", "digits/routes.json: is not JSON: JSON is malformed: invalid character (byte 0)"),
        (b"[" * 100_000, "digits/routes.json: expected a table"),
    ],
)  # fmt: skip
def test_routes_that_cannot_be_read_say_why(data: bytes, message: str) -> None:
    with pytest.raises(RoutesError) as caught:
        decode_routes(data, "digits/routes.json")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("label", ["a/b", "", "x\n", ".hidden"])
def test_a_label_in_a_file_follows_the_same_rule(label: str) -> None:
    data = msgspec.json.encode({"labels": {label: 1}})
    with pytest.raises(RoutesError, match="matching regex"):
        decode_routes(data, "digits/routes.json")


steps = st.lists(st.integers(1, 8) | st.none(), max_size=30)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_promotions_and_rollbacks_always_leave_a_version_that_exists(steps: list[int | None]) -> None:
    versions, routes = list(range(1, 9)), Routes()
    for step in steps:
        if step is not None:
            routes = promote(routes, step, versions)
            assert resolve(routes, versions).stable == step
        else:
            before = resolve(routes, versions).stable
            try:
                routes = rollback(routes, versions)
            except RoutesError:
                assert before == 1
                assert routes.history == ()
            else:
                assert resolve(routes, versions).stable != before
        assert resolve(routes, versions).problem is None
        assert len(routes.history) <= MAX_HISTORY


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 8), st.integers(1, 8))
def test_a_rollback_undoes_a_promotion(first: int, second: int) -> None:
    versions = list(range(1, 9))
    routes = promote(Routes(), first, versions)
    if first != second:
        assert rollback(promote(routes, second, versions), versions) == routes
