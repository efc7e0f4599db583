"""A front and its engine across swaps, refusals, withdrawals and losses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import msgspec
import pytest

from model_repo import Input
from server.errors import InvalidTensor, Overloaded, QuorumLost
from server.front import engine, link
from tests.server.front.pair import pair
from tests.server.http.standin import Manager, Servable, digits, words
from tests.server.http.standin import pair as two_inputs

GOOD = {
    "inputs": [
        {"name": "a", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]},
        {"name": "b", "datatype": "INT64", "shape": [1], "data": [4]},
    ]
}
ONLY_A = {"inputs": GOOD["inputs"][:1]}


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def without_b(version: int) -> Servable:
    """A version of `pair` that takes `a` alone."""
    made = two_inputs(version)
    made.manifest = msgspec.structs.replace(made.manifest, inputs=(Input(name="a", datatype="FP32", shape=(-1, 3)),))
    made.model = lambda feeds, version: {"value": feeds["a"].sum(axis=1) * version}
    return made


def version_of(body: bytes) -> str:
    return str(json.loads(body)["model_version"])


@on_a_loop
async def test_answers_and_errors_are_those_of_one_process() -> None:
    strings = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["é", ""]}]}
    async with pair(Manager(two_inputs(1), words(), digits(1), digits(2))) as both:
        for body, name, version in (
            (GOOD, "pair", None),
            ({**GOOD, "id": "7", "outputs": [{"name": "std"}, {"name": "value"}]}, "pair", None),
            ({**strings, "outputs": [{"name": "text"}]}, "words", None),
            (ONLY_A, "pair", None),
            (b"{", "pair", None),
            (b"", "pair", None),
            (GOOD, "nobody", None),
            (GOOD, "digits", "1"),
            (GOOD, "digits", "3"),
        ):
            front, alone = await both.both(body, name, version)
            assert front == alone


@on_a_loop
async def test_requests_of_one_turn_travel_together() -> None:
    async with pair(Manager(two_inputs(1))) as both:
        await both.ask(GOOD)[0]
        replies = [both.ask(GOOD)[0] for _ in range(50)]
        assert {reply.status for reply in await asyncio.gather(*replies)} == {200}


@on_a_loop
async def test_a_request_decoded_for_an_older_version_is_answered_by_the_newer_one() -> None:
    async with pair(Manager(two_inputs(1))) as both:
        assert version_of((await both.ask(GOOD)[0]).body) == "1"
        on_its_way = [both.ask(GOOD)[0] for _ in range(3)]
        both.manager.add(two_inputs(2))
        assert {version_of(reply.body) for reply in await asyncio.gather(*on_its_way)} == {"2"}
        front, alone = await both.both(GOOD)
        assert front == alone


@on_a_loop
async def test_a_request_is_judged_by_the_inputs_of_the_version_that_serves_now() -> None:
    async with pair(Manager(two_inputs(1))) as both:
        assert (await both.ask(GOOD)[0]).status == 200
        both.manager.add(without_b(2))
        # What this front knows would refuse the first and take the second.
        assert version_of((await both.ask(ONLY_A)[0]).body) == "2"
        both.manager.add(two_inputs(3))
        front, alone = await both.both(ONLY_A)
        assert front == alone
        assert front.status == 422


@on_a_loop
async def test_a_pinned_version_stays_what_it_was() -> None:
    async with pair(Manager(two_inputs(1))) as both:
        both.manager.add(two_inputs(2))
        for version in ("1", "2", "1"):
            front, alone = await both.both(GOOD, version=version)
            assert (front, version_of(front.body)) == (alone, version)


@on_a_loop
async def test_an_ensemble_that_is_unloaded_and_loaded_again_follows_at_once() -> None:
    async with pair(Manager(two_inputs(1))) as both:
        for _ in range(2):
            assert (await both.ask(GOOD)[0]).status == 200
            await both.manager.unload("pair")
            for body in (GOOD, ONLY_A):
                front, alone = await both.both(body)
                assert front == alone
                assert front.status == 503
            await both.manager.load("pair")


@on_a_loop
async def test_errors_of_the_engine_keep_their_status_and_fields() -> None:
    servable = two_inputs(1)
    async with pair(Manager(servable)) as both:
        for error in (QuorumLost("1 of 3", ("cnn",)), InvalidTensor("refused"), Overloaded("full", 3.2)):
            servable.error = error
            front, alone = await both.both(GOOD)
            assert front == alone
        servable.error = ZeroDivisionError("a bug")
        reply = await both.ask({**GOOD, "id": "mine"})[0]
        assert (reply.status, json.loads(reply.body)) == (500, {"error": "internal error, request mine"})


@on_a_loop
async def test_a_client_that_leaves_withdraws_its_rows_from_the_engine() -> None:
    servable = two_inputs(1)
    async with pair(Manager(servable)) as both:
        await both.ask(GOOD)[0]
        servable.gate = asyncio.Event()
        left, pending = both.ask(GOOD)
        stayed, _ = both.ask(GOOD)
        await servable.waiting.wait()
        pending.cancel()
        await servable.withdrawn.wait()
        servable.gate.set()
        assert (await stayed).status == 200
        assert not left.done()


@on_a_loop
async def test_a_front_that_goes_takes_only_its_own_rows_along() -> None:
    servable = two_inputs(1)
    async with pair(Manager(servable)) as both:
        await both.ask(GOOD)[0]
        servable.gate = asyncio.Event()
        both.ask(GOOD)
        await servable.waiting.wait()
        both.link.close()
        await servable.withdrawn.wait()


@on_a_loop
async def test_when_the_engine_goes_requests_are_answered_503_at_once() -> None:
    servable = two_inputs(1)
    async with pair(Manager(servable)) as both:
        await both.ask(GOOD)[0]
        servable.gate = asyncio.Event()
        waiting = [both.ask(GOOD)[0], both.ask(ONLY_A)[0], both.ask(GOOD, "nobody")[0]]
        both.engine.close()
        for reply in [*await asyncio.gather(*waiting), await both.ask(GOOD)[0]]:
            assert reply.status == 503
            assert (b"retry-after", b"1") in reply.headers


@on_a_loop
async def test_more_requests_than_a_front_may_have_outstanding_are_answered_503_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "MAX_OUTSTANDING", 5)
    servable = two_inputs(1)
    async with pair(Manager(servable)) as both:
        await both.ask(GOOD)[0]
        servable.gate = asyncio.Event()
        taken = [both.ask(GOOD)[0] for _ in range(5)]
        refused, _ = both.ask(GOOD)
        await asyncio.sleep(0)  # requests of one turn of the loop are begun in the next
        assert refused.done()
        assert refused.result().status == 503
        servable.gate.set()
        assert {reply.status for reply in await asyncio.gather(*taken)} == {200}
        assert (await both.ask(GOOD)[0]).status == 200


@on_a_loop
async def test_a_front_forgets_versions_and_learns_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "KEPT_VERSIONS", 2)
    async with pair(Manager(two_inputs(1), digits(1), words())) as both:
        for version in range(1, 12):
            both.manager.add(two_inputs(version))
            replies = [both.ask(GOOD)[0], both.ask(GOOD, "digits")[0], both.ask(GOOD, "words")[0], both.ask(GOOD)[0]]
            assert [reply.status for reply in await asyncio.gather(*replies)] == [200, 422, 422, 200]


@on_a_loop
async def test_what_a_front_counts_arrives_in_the_engines_metrics() -> None:
    async with pair(Manager(two_inputs(1))) as both:
        both.metrics.servable("pair", 1, ("linear",))
        for body, name in ((GOOD, "pair"), (GOOD, "pair"), (GOOD, "nobody"), (ONLY_A, "pair")):
            await both.ask(body, name)[0]
        both.link.tell()
        await both.ask(GOOD)[0]  # on the same stream, so it comes behind what was told
        shown = both.metrics.render().decode()
        assert 'tutti_requests_total{ensemble="pair",outcome="ok",version="1"} 2.0' in shown
        assert 'tutti_requests_total{ensemble="pair",outcome="invalid",version="1"} 1.0' in shown
        assert 'tutti_requests_total{ensemble="",outcome="unknown",version=""} 1.0' in shown
        assert 'tutti_request_seconds_count{ensemble="pair",version="1"} 3.0' in shown
