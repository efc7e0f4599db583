"""One request from bytes to bytes: routing, swaps, degradation, cancellation, counting."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from server.errors import RateLimited
from server.http import Call, Limits, Reply, Target
from server.http.inference.rate_limit import RateLimit
from tests.server.http.asking import Way, ask, inference, tensor
from tests.server.http.standin import Manager, all_servables, digits

REQUEST = json.dumps({"inputs": [tensor()]}).encode()
WAYS = ["task", "nowait"]


def asked_of(manager: Manager, way: Way, target: Target | None = None, **call: Any) -> tuple[Reply, list[Any]]:
    asked, metrics = inference(manager)
    reply = asyncio.run(ask(asked, Call("v2", target or Target("digits"), **call), REQUEST, way))
    return reply, metrics.requests


@pytest.mark.parametrize("way", WAYS)
def test_a_request_that_meets_a_swap_is_answered_by_the_new_version(way: Way) -> None:
    old, new = digits(1), digits(2)
    manager = Manager(old)
    old.superseded = 100
    route = manager.route

    def swapped(*args: Any, **named: Any) -> Any:
        found = route(*args, **named)
        manager.add(new)  # the next look finds the new version
        return found

    manager.route = swapped  # type: ignore[method-assign]
    reply, requests = asked_of(manager, way)
    assert reply.status == 200
    assert json.loads(reply.body)["model_version"] == "2"
    assert requests == [("digits", "2", "ok")]


@pytest.mark.parametrize("way", WAYS)
def test_a_servable_that_never_takes_rows_again_is_503(way: Way) -> None:
    stuck = digits()
    stuck.superseded = 100
    reply, requests = asked_of(Manager(stuck), way)
    assert reply.status == 503
    assert requests == [("digits", "1", "not_ready")]


@pytest.mark.parametrize("way", WAYS)
def test_a_degraded_answer_is_marked(way: Way) -> None:
    servable = digits()
    servable.missing = ("cnn", "rf")
    reply, requests = asked_of(Manager(servable), way)
    assert json.loads(reply.body)["parameters"] == {"degraded": True, "missing": "cnn,rf"}
    assert dict(reply.headers)[b"tutti-degraded"] == b"cnn,rf"
    assert requests == [("digits", "1", "degraded")]


def test_a_whole_answer_is_not_marked() -> None:
    reply, _ = asked_of(Manager(digits()), "task")
    assert "parameters" not in json.loads(reply.body)
    assert b"tutti-degraded" not in dict(reply.headers)


@pytest.mark.parametrize("way", WAYS)
def test_a_label_and_a_version_choose_who_answers(way: Way) -> None:
    manager = Manager(digits(1), digits(2))
    manager.label_table["digits"] = {"old": 1}
    assert json.loads(asked_of(manager, way, Target("digits", label="old"))[0].body)["model_version"] == "1"
    assert json.loads(asked_of(manager, way, Target("digits", version=1))[0].body)["model_version"] == "1"
    assert asked_of(manager, way, Target("digits", label="new"))[0].status == 404
    assert asked_of(manager, way, Target("nobody"))[1] == [("", "", "unknown")]


@pytest.mark.parametrize("way", WAYS)
def test_a_withdrawn_request_reaches_the_queue_and_is_counted_once(way: Way) -> None:
    servable = digits()

    async def run() -> list[Any]:
        servable.gate = asyncio.Event()
        asked, metrics = inference(Manager(servable))
        replies: list[Reply] = []
        if way == "nowait":
            pending: Any = asked.answer_nowait(Call("v2", Target("digits")), REQUEST, replies.append)
        else:
            pending = asyncio.create_task(asked.answer(Call("v2", Target("digits")), REQUEST))
        await servable.waiting.wait()
        pending.cancel()
        await servable.withdrawn.wait()
        await asyncio.sleep(0)  # the callbacks of the same turn of the loop
        assert not replies
        return metrics.requests

    assert asyncio.run(run()) == [("digits", "1", "cancelled")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("header_only", [True, False])
def test_large_bodies_are_decoded_off_the_loop_with_the_same_result(way: Way, header_only: bool) -> None:
    rows = np.random.default_rng(0).random((1200, 8, 8)).astype(np.float32)
    head: dict[str, Any] = {"name": "image", "shape": [1200, 8, 8], "datatype": "FP32"}
    raw, call = b"", Call("v2", Target("digits"))
    if header_only:
        raw, head["parameters"] = rows.tobytes(), {"binary_data_size": rows.nbytes}
    else:
        head["data"] = rows.reshape(-1).tolist()
    text = json.dumps({"inputs": [head], "outputs": [{"name": "members"}, {"name": "confidence"}]}).encode()
    call.header_length = str(len(text)) if header_only else None
    assert len(text + raw) > 256 * 1024
    asked, _ = inference(Manager(digits()), Limits())
    reply = asyncio.run(ask(asked, call, text + raw, way))
    outputs = json.loads(reply.body)["outputs"]
    servable_answer = digits().model({"image": rows}, 1)
    assert np.array_equal(np.array(outputs[1]["data"], np.float32), servable_answer["confidence"])
    assert outputs[0]["shape"] == [1200, 1, 10]


def test_requests_for_the_same_outputs_share_one_selection() -> None:
    manager = Manager(digits())
    body = json.dumps({"inputs": [tensor()], "outputs": [{"name": "label"}, {"name": "confidence"}]}).encode()

    async def run() -> None:
        asked, _ = inference(manager)
        for sent in (body, body, REQUEST, REQUEST):
            await asked.answer(Call("v2", Target("digits")), sent)

    asyncio.run(run())
    first, second, third, fourth = (entry.outputs for entry in manager.route("digits").entries)
    assert first is second
    assert third is fourth


def test_a_version_published_again_under_its_number_is_read_anew() -> None:
    manager = Manager(digits())
    asked, _ = inference(manager)
    asyncio.run(asked.answer(Call("v2", Target("digits")), REQUEST))
    again = digits()
    again.ensemble.default_outputs = ("confidence",)
    manager.add(again)
    reply = asyncio.run(asked.answer(Call("v2", Target("digits")), REQUEST))
    assert [output["name"] for output in json.loads(reply.body)["outputs"]] == ["confidence"]


def test_every_ensemble_of_the_stand_in_has_another_name() -> None:
    names = [(servable.name, servable.version) for servable in all_servables()]
    assert len(set(names)) == len(names)


def test_a_client_over_its_share_is_told_when_to_come_back() -> None:
    now = [0.0]
    limit = RateLimit(4.0, clock=lambda: now[0])
    for _ in range(4):
        limit.take("a")
    with pytest.raises(RateLimited, match="more than 4 requests per second") as raised:
        limit.take("a")
    assert raised.value.retry_after_s == 0.25
    limit.take("b")
    now[0] = 0.25
    limit.take("a")
    with pytest.raises(RateLimited):
        limit.take("a")
    now[0] = 100.0
    for _ in range(4):
        limit.take("a")


def test_a_rate_below_one_allows_one_request_and_then_waits() -> None:
    now = [0.0]
    limit = RateLimit(0.5, clock=lambda: now[0])
    limit.take("a")
    with pytest.raises(RateLimited) as raised:
        limit.take("a")
    assert raised.value.retry_after_s == 2.0


def test_the_table_of_clients_does_not_grow_without_bound() -> None:
    limit = RateLimit(1.0, clock=lambda: 0.0, clients=10)
    for number in range(1000):
        limit.take(f"client {number}")
    buckets: OrderedDict[str, Any] = vars(limit)["_buckets"]
    assert list(buckets) == [f"client {number}" for number in range(990, 1000)]


def test_ensembles_that_are_asked_in_turn_begin_when_all_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun one by one, each would have batches of one row however many were on their way."""
    servables = {1: digits(1), 2: digits(2)}
    told: list[tuple[str, int]] = []
    for version, servable in servables.items():
        ask_of = servable.ask

        def asked_for(*words: Any, version: int = version, ask_of: Any = ask_of) -> None:
            told.append(("ask", version))
            ask_of(*words)

        monkeypatch.setattr(servable, "ask", asked_for)
        monkeypatch.setattr(servable, "begin", lambda version=version: told.append(("begin", version)))

    async def run() -> list[Reply]:
        asked, _ = inference(Manager(*servables.values()))
        replies: list[asyncio.Future[Reply]] = [asyncio.get_running_loop().create_future() for _ in range(4)]
        for version, reply in zip((1, 2, 1, 2), replies, strict=True):
            asked.answer_nowait(Call("v2", Target("digits", version)), REQUEST, reply.set_result)
        found = await asyncio.gather(*replies)
        assert asked.open == 0
        return found

    assert [reply.status for reply in asyncio.run(asyncio.wait_for(run(), 10))] == [200] * 4
    assert told[:4] == [("ask", 1), ("ask", 2), ("ask", 1), ("ask", 2)]
    assert sorted(told[4:]) == [("begin", 1), ("begin", 2)]


def test_what_is_withdrawn_before_its_task_begins_is_counted_and_no_longer_on_its_way() -> None:
    async def run() -> tuple[int, list[Any]]:
        asked, metrics = inference()
        packed = Call("v2", Target("digits"), content_encoding="gzip")
        exchange = asked.answer_nowait(packed, gzip.compress(REQUEST), lambda reply: pytest.fail("delivered"))
        await asyncio.sleep(0)
        assert exchange.work is not None
        assert exchange.cancel()
        await asyncio.wait([exchange.work])
        await asyncio.sleep(0)
        return asked.open, metrics.requests

    assert asyncio.run(run()) == (0, [("digits", "2", "cancelled")])
