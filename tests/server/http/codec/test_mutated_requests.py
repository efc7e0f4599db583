"""10,000 mutated bodies: each is answered or refused by the client's own fault, never by ours."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from server.http import Call, Limits, Target
from tests.server.http.asking import ask, inference, tensor
from tests.server.http.standin import Manager, all_servables

BODIES = 5_000
"""By each of two generators."""
LIMITS = Limits(max_body_bytes=1 << 16, max_rows=64, max_elements=4096)
SPLICES = [
    b"null",
    b"-1", b"1e999", b"NaN", b"true", b'""', b"[]", b"{}", b"99999999999999999999", b"0.5", b'"FP16"', b'"BYTES"',
    b"\\ud800", b"\xff\xfe", b"\x00", b"[" * 40,
    b'"shape":[0]', b'"parameters":{"binary_data_size":8}', b'{"b64":"aGk="}',
    b"4294967296", b"-9223372036854775809", b'"name":"x",', b",", b":", b'"', b"}", b"]",
]  # fmt: skip


def json_seeds() -> list[tuple[Call, bytes]]:
    """Valid requests of each format."""
    pair = [tensor("a", [2, 3], data=[1, 2, 3, 4, 5, 6]), tensor("b", [2], "INT64", data=[1, 2])]
    outputs = [{"name": "probabilities", "parameters": {"classification": 3, "binary_data": False}}, {"name": "label"}]
    v2 = [
        ("digits", {"id": "1", "inputs": [tensor()], "outputs": outputs, "parameters": {"timeout": 1000000}}),
        ("pair", {"inputs": pair}),
        ("words", {"inputs": [tensor("text", [2, 1], "BYTES", data=["a", "b"])]}),
        ("echo-FP16", {"inputs": [tensor("x", [2, 2], "FP16", data=[[1, 2], [3, 4]])]}),
        ("echo-BOOL", {"inputs": [tensor("x", [1, 2], "BOOL", data=[True, False])]}),
    ]
    v1 = [
        ("digits", {"signature_name": "serving_default", "instances": [[[0.5] * 8] * 8]}),
        ("pair", {"instances": [{"a": [1, 2, 3], "b": 4}, {"a": [1, 2, 3], "b": 4}]}),
        ("pair", {"inputs": {"a": [[1, 2, 3]], "b": [4]}}),
        ("words", {"instances": [{"b64": "aGk="}, {"b64": "aGk="}]}),
    ]
    return [
        *((Call("v2", Target(name)), json.dumps(body).encode()) for name, body in v2),
        *((Call("v1", Target(name)), json.dumps(body).encode()) for name, body in v1),
    ]


def binary_seeds() -> list[tuple[Call, bytes]]:
    """Valid requests with raw tensors behind the JSON."""
    image = np.full((1, 8, 8), 0.5, "<f4").tobytes()
    a, b = np.ones((2, 3), "<f4").tobytes(), np.ones(2, "<i8").tobytes()
    strings = b"\x02\0\0\0hi\x03\0\0\0ho!"
    requests = [
        ("digits", [tensor(parameters={"binary_data_size": len(image)})], image),
        (
            "pair",
            [
                tensor("a", [2, 3], parameters={"binary_data_size": len(a)}),
                tensor("b", [2], "INT64", parameters={"binary_data_size": len(b)}),
            ],
            a + b,
        ),
        ("words", [tensor("text", [2, 1], "BYTES", parameters={"binary_data_size": len(strings)})], strings),
    ]
    seeds = []
    for name, inputs, raw in requests:
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
        seeds.append((Call("v2", Target(name), header_length=str(len(head))), head + raw))
    return seeds


def flip(body: bytearray, rng: random.Random) -> None:
    body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)


def cut(body: bytearray, rng: random.Random) -> None:
    del body[rng.randrange(len(body)) :]


def drop(body: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(body))
    del body[start : start + rng.randrange(1, 12)]


def repeat(body: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(body))
    body[start:start] = body[start : start + rng.randrange(1, 60)]


def splice(body: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(body))
    body[start : start + rng.choice((0, 1, 3))] = rng.choice(SPLICES)


def swap_value(body: bytearray, rng: random.Random) -> None:
    """Another value where a JSON value stands, which leaves the JSON well-formed."""
    starts = [index for index in range(1, len(body)) if body[index - 1] in b" [:"]
    if starts:
        start = rng.choice(starts)
        end = min((body.find(mark, start) for mark in b",]}" if body.find(mark, start) >= 0), default=start)
        body[start:end] = rng.choice(SPLICES)


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [flip, cut, drop, repeat, splice, swap_value, swap_value]


def mutated(seeds: list[tuple[Call, bytes]], rng: random.Random) -> Iterator[tuple[Call, bytes]]:
    """Bodies with their JSON or their raw part changed, and now and then a header length that lies."""
    for _ in range(BODIES):
        call, body = rng.choice(seeds)
        split = len(body) if call.header_length is None else int(call.header_length)
        head, raw = bytearray(body[:split]), bytearray(body[split:])
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            changed = head if not raw or rng.random() < 0.7 else raw
            if changed:
                rng.choice(MUTATIONS)(changed, rng)
        if call.header_length is not None:
            lie = rng.choice((0, 1, len(head) + len(raw), len(head) + len(raw) + 1, rng.randrange(1, 300)))
            length = str(lie if rng.random() < 0.1 else len(head))
            call = Call(call.protocol, call.target, header_length=length)
        yield call, bytes(head + raw)


@pytest.mark.parametrize("generator", [json_seeds, binary_seeds])
def test_mutated_bodies_are_answered_or_refused_but_never_fail(
    generator: Callable[[], list[tuple[Call, bytes]]],
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    statuses: Counter[int] = Counter()

    async def run() -> None:
        rng = random.Random(seed)
        asked, _ = inference(Manager(*all_servables()), LIMITS)
        for call, body in mutated(generator(), rng):
            reply = await ask(asked, call, body, rng.choice(("task", "nowait")))
            statuses[reply.status] += 1
            assert reply.status in (200, 400, 413, 422), (call, body, reply)
            if reply.status != 200:
                assert json.loads(reply.body)["error"], (call, body)

    asyncio.run(run())
    # Mutations that are all refused at the first byte, or hardly change anything, would test nothing.
    assert statuses[200] > 20, statuses
    assert statuses[400] > 100, statuses
    print(statuses)
    assert statuses[422] > 3, statuses


@pytest.mark.parametrize("generator", [json_seeds, binary_seeds])
def test_the_seeds_themselves_are_answered(generator: Callable[[], list[tuple[Call, bytes]]]) -> None:
    async def run() -> None:
        asked, _ = inference(Manager(*all_servables()), LIMITS)
        for call, body in generator():
            assert (await asked.answer(call, body)).status == 200, (call, body)

    asyncio.run(run())
