"""The batcher: rows are never lost, mixed or reordered, and nobody's trouble is anybody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repo import Batching
from server.errors import DeadlineExceeded, Overloaded, QuorumLost, Superseded
from server.serving.batching import batcher as batcher_module
from server.serving.batching.answer import Answer
from server.serving.batching.batch import BatchResult, Entry, Part
from server.serving.batching.batcher import Batcher
from server.serving.batching.isolation import compute
from tests.server.serving.batching.standin import POISON, Doubler


class Bench:
    """A batcher over a stand-in ensemble, with what it reported."""

    def __init__(
        self,
        model: Doubler,
        limits: Batching,
        *,
        lanes: int,
        seconds: Callable[[int], float],
        pool: ThreadPoolExecutor,
    ) -> None:
        self.model = model
        self.known_bad: frozenset[str] = frozenset()
        self.done: list[BatchResult | BaseException] = []
        self.batcher = Batcher(
            limits,
            subject="'test' version 1",
            version=1,
            lanes=lanes,
            executor=pool,
            run=self._run,
            seconds=seconds,
            done=self._done,
        )

    def _run(self, parts: Sequence[Part]) -> BatchResult:
        return compute(self.model.ensemble, parts, (), self.known_bad)

    def _done(self, parts: Sequence[Part], result: BatchResult | BaseException, seconds: float) -> None:
        self.done.append(result)
        if isinstance(result, BatchResult):
            self.known_bad = result.helpless

    def submit(self, values: Sequence[float], *, timeout_s: float = 30.0, width: int = 1) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        x = np.repeat(np.asarray(values, np.float32)[:, None], width, axis=1)
        reply: asyncio.Future[Answer] = loop.create_future()
        entry = Entry({"x": x}, len(x), ("y",), loop.time() + timeout_s, reply, loop.time(), ((width,),))
        self.batcher.submit_nowait(entry)
        return reply


@asynccontextmanager
async def bench(
    model: Doubler | None = None,
    *,
    max_batch_rows: int = 8,
    max_queue_rows: int = 1_000_000,
    max_queue_delay_s: float = 0.0,
    lanes: int = 1,
    inline: bool = False,
    seconds: Callable[[int], float] | None = None,
) -> AsyncIterator[Bench]:
    with ThreadPoolExecutor(lanes) as pool:
        limits = Batching(
            max_batch_rows=max_batch_rows, max_queue_rows=max_queue_rows, max_queue_delay_s=max_queue_delay_s
        )
        estimate = seconds or (lambda rows: 0.0 if inline else 0.001)
        made = Bench(model or Doubler(), limits, lanes=lanes, seconds=estimate, pool=pool)
        try:
            yield made
        finally:
            made.model.gate.set()
            made.batcher.close()
            await made.batcher.drained()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(limited())


async def turns(count: int = 5) -> None:
    """Let callbacks that are due run."""
    for _ in range(count):
        await asyncio.sleep(0)


def values(answer: Answer) -> list[float]:
    found: list[float] = answer.outputs["y"][:, 0].tolist()
    return found


@settings(max_examples=120, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    size=st.integers(1, 16),
    lanes=st.integers(1, 3),
    inline=st.booleans(),
    widths=st.data(),
)
def test_rows_are_never_lost_mixed_or_reordered(
    sizes: list[int], size: int, lanes: int, inline: bool, widths: st.DataObject
) -> None:
    shapes = [widths.draw(st.integers(1, 2)) for _ in sizes]

    async def scenario() -> None:
        async with bench(max_batch_rows=size, lanes=lanes, inline=inline) as b:
            starts = np.cumsum([0, *sizes[:-1]]).tolist()
            asked = [list(map(float, range(start, start + n))) for start, n in zip(starts, sizes, strict=True)]
            replies = [b.submit(rows, width=width) for rows, width in zip(asked, shapes, strict=True)]
            for rows, reply, width in zip(asked, replies, shapes, strict=True):
                answer = await reply
                assert values(answer) == [2 * value for value in rows]
                assert answer.outputs["y"].shape == (len(rows), width)
            assert max(b.model.batches) <= size
            assert sum(b.model.batches) == sum(sizes)
            await turns()
            assert b.batcher.statistics().queued_rows == b.batcher.statistics().inflight_rows == 0

    run(scenario)


@settings(max_examples=40, deadline=None)
@given(
    fates=st.lists(st.sampled_from(["stays", "cancelled", "expired"]), min_size=2, max_size=12),
    when=st.sampled_from(["queued", "running"]),
)
def test_cancelled_and_expired_requests_never_harm_their_batch_mates(fates: list[str], when: str) -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=64) as b:
            b.model.gate.clear()
            blocker = b.submit([100.0]) if when == "queued" else None
            await turns()
            replies = [
                b.submit([float(i)], timeout_s=0.05 if fate == "expired" and when == "queued" else 30.0)
                for i, fate in enumerate(fates)
            ]
            await turns()
            for reply, fate in zip(replies, fates, strict=True):
                if fate == "cancelled":
                    reply.cancel()
                elif fate == "expired" and when == "queued":
                    with pytest.raises(DeadlineExceeded, match="waited"):
                        await reply
            b.model.gate.set()
            if blocker is not None:
                assert values(await blocker) == [200.0]
            for i, (reply, fate) in enumerate(zip(replies, fates, strict=True)):
                if fate == "cancelled":
                    assert reply.cancelled()
                elif not (fate == "expired" and when == "queued"):
                    assert values(await reply) == [2.0 * i]

    run(scenario)


def test_cancelled_rows_that_wait_are_not_computed() -> None:
    async def scenario() -> None:
        async with bench() as b:
            b.model.gate.clear()
            first = b.submit([1.0])
            await turns()
            second, third = b.submit([2.0] * 5), b.submit([3.0])
            second.cancel()
            b.model.gate.set()
            await asyncio.gather(first, third)
            assert b.model.batches == [1, 1]

    run(scenario)


def test_a_deadline_passes_while_every_lane_is_busy() -> None:
    async def scenario() -> None:
        async with bench() as b:
            b.model.gate.clear()
            b.submit([1.0])
            await turns()
            with pytest.raises(
                DeadlineExceeded,
                match=r"'test' version 1: the request waited [\d.]+ ms in the queue, its deadline was 20 ms",
            ):
                await b.submit([2.0], timeout_s=0.02)
            assert not b.model.batches, "the 504 came before any batch ended"

    run(scenario)


def test_one_bad_request_fails_alone() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=64) as b:
            replies = [b.submit([1.0]), b.submit([POISON, 5.0]), b.submit([3.0])]
            assert values(await replies[0]) == [2.0]
            with pytest.raises(
                QuorumLost, match="1 of 2 members answered, the quorum is 2: member 'a': a poisoned row"
            ):
                await replies[1]
            third = await replies[2]
            assert values(third) == [6.0]
            assert third.missing == ()
            assert b.model.batches == [4, 1, 2, 1]

    run(scenario)


def test_a_member_that_always_fails_is_not_retried_for_ever() -> None:
    async def scenario() -> None:
        async with bench(Doubler(quorum=1, always_failing=True), max_batch_rows=64) as b:
            for _ in range(3):
                answers = await asyncio.gather(b.submit([1.0]), b.submit([2.0]))
                assert [answer.missing for answer in answers] == [("a",), ("a",)]
            assert b.model.batches == [2, 1, 1, 2, 2]

    run(scenario)


def test_an_exception_in_the_batch_reaches_every_request_and_frees_the_lane() -> None:
    class Broken(Doubler):
        def predict(self, *_: object) -> object:  # type: ignore[override]
            raise ZeroDivisionError("a bug")

    async def scenario() -> None:
        async with bench(Broken()) as b:
            for _ in range(2):
                for reply in (b.submit([1.0]), b.submit([2.0])):
                    with pytest.raises(ZeroDivisionError):
                        await reply
            await turns()
            assert b.batcher.statistics().busy_lanes == 0

    run(scenario)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    async def scenario() -> None:
        async with bench(max_queue_rows=4) as b:
            b.model.gate.clear()
            accepted = [b.submit([1.0])]
            await turns()
            accepted += [b.submit([float(i)]) for i in range(4)]
            with pytest.raises(Overloaded, match="4 rows are queued and 2 more would pass the limit of 4") as refusal:
                b.submit([1.0, 2.0])
            assert refusal.value.retry_after_s > 0
            b.model.gate.set()
            assert len(await asyncio.gather(*accepted)) == 5

    run(scenario)


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=1) as b:
            b.model.gate.clear()
            waiting = [b.submit([1.0]) for _ in range(20)]
            await turns()
            with pytest.raises(Overloaded, match="the deadline is sooner"):
                b.submit([1.0], timeout_s=0.001)
            b.model.gate.set()
            await asyncio.gather(*waiting)

    run(scenario)


def test_a_request_larger_than_the_queue_is_served_when_nothing_waits() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=4, max_queue_rows=8) as b:
            assert values(await b.submit([float(i) for i in range(50)])) == [2.0 * i for i in range(50)]

    run(scenario)


def test_rows_gather_while_the_lane_is_busy() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=8) as b:
            b.model.gate.clear()
            replies = [b.submit([0.0])]
            await turns()
            replies += [b.submit([float(i)]) for i in range(1, 8)]
            b.model.gate.set()
            await asyncio.gather(*replies)
            assert b.model.batches == [1, 7]

    run(scenario)


def test_a_queue_delay_waits_for_company() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=2, max_queue_delay_s=5.0) as b:
            first = b.submit([1.0])
            await turns()
            assert not first.done()
            second = b.submit([2.0])
            await asyncio.gather(first, second)
            assert b.model.batches == [2]

    run(scenario)


def test_a_queue_delay_ends() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=8, max_queue_delay_s=0.02) as b:
            assert values(await b.submit([1.0])) == [2.0]

    run(scenario)


def test_closing_refuses_new_rows_and_finishes_those_that_wait() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=1, max_queue_delay_s=0.0) as b:
            b.model.gate.clear()
            replies = [b.submit([float(i)]) for i in range(3)]
            b.batcher.close()
            with pytest.raises(Superseded):
                b.submit([9.0])
            drained = asyncio.ensure_future(b.batcher.drained())
            await turns()
            assert not drained.done()
            b.model.gate.set()
            await drained
            assert [values(reply.result()) for reply in replies] == [[0.0], [2.0], [4.0]]

    run(scenario)


def test_drained_returns_when_every_waiting_request_was_cancelled() -> None:
    async def scenario() -> None:
        async with bench() as b:
            b.model.gate.clear()
            b.submit([1.0])
            await turns()
            b.submit([2.0]).cancel()
            b.batcher.close()
            b.model.gate.set()
            await b.batcher.drained()
            assert b.model.batches == [1]

    run(scenario)


def test_a_full_queue_is_told_before_a_request_is_decoded() -> None:
    async def scenario() -> None:
        model = Doubler()
        async with bench(model, max_batch_rows=2, max_queue_rows=4) as b:
            model.gate.clear()
            running = b.submit([1.0, 2.0])
            await turns()
            b.batcher.check_room()
            waiting = [b.submit([3.0, 4.0]), b.submit([5.0, 6.0])]
            with pytest.raises(Overloaded, match="4 rows are queued, the limit is 4"):
                b.batcher.check_room()
            model.gate.set()
            assert [values(await reply) for reply in (running, *waiting)] == [[2.0, 4.0], [6.0, 8.0], [10.0, 12.0]]
            b.batcher.check_room()

    run(scenario)


def test_batches_hold_as_many_rows_as_are_computed_well_at_once() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=8, seconds=lambda rows: 1e-3 * rows * (1 if rows <= 2 else 2)) as b:
            replies = [b.submit(list(map(float, range(n)))) for n in (1, 1, 5, 8)]
            answers = [values(await reply) for reply in replies]
            assert answers == [[2.0 * value for value in range(n)] for n in (1, 1, 5, 8)]
            assert max(b.model.batches) == 2

    run(scenario)


def test_many_rows_that_take_little_time_are_not_refused() -> None:
    """32 clients with 64 rows of a tiny model: 2,048 rows are 0.2 s of work, not an overload."""

    async def scenario() -> None:
        async with bench(max_batch_rows=64, max_queue_rows=65_536, seconds=lambda rows: 1e-4 * rows) as b:
            b.model.gate.clear()
            replies = [b.submit([1.0] * 64) for _ in range(32)]
            await turns()
            b.model.gate.set()
            assert len(await asyncio.gather(*replies)) == 32

    run(scenario)


def test_a_wait_that_is_too_long_is_refused_by_its_seconds() -> None:
    async def scenario() -> None:
        async with bench(max_batch_rows=4, max_queue_rows=65_536, seconds=lambda rows: 0.25 * rows) as b:
            b.model.gate.clear()
            replies = [b.submit([1.0]) for _ in range(1)]
            await turns()
            replies += [b.submit([1.0]) for _ in range(20)]  # 5 s, the usual longest wait
            with pytest.raises(Overloaded, match=r"would pass the limit of 20 for 5 s .* about 5 s") as refusal:
                b.submit([1.0])
            assert refusal.value.retry_after_s == pytest.approx(5.0)
            with pytest.raises(Overloaded, match="the limit is 20"):
                b.batcher.check_room()
            b.model.gate.set()
            await asyncio.gather(*replies)

    run(scenario)


def test_rows_that_take_much_memory_are_bounded_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "MAX_QUEUE_BYTES", 2048 * 4)
    monkeypatch.setattr(batcher_module, "ALWAYS_ROWS", 8)

    async def scenario() -> None:
        async with bench(max_batch_rows=4, max_queue_rows=65_536, seconds=lambda rows: 1e-6) as b:
            b.model.gate.clear()
            replies = [b.submit([1.0], width=512)]
            await turns()
            replies += [b.submit([1.0], width=512) for _ in range(8)]
            with pytest.raises(Overloaded, match="would pass the limit of 8 for 5 s or 256 MiB"):
                b.submit([1.0], width=512)
            replies.append(b.submit([1.0]))  # small rows have room
            b.model.gate.set()
            await asyncio.gather(*replies)

    run(scenario)


@pytest.mark.parametrize("inline", [False, True])
def test_a_queue_that_is_always_full_does_not_hold_up_another_ensemble(inline: bool) -> None:
    """Two batchers of one process, one with every lane busy and hundreds of rows behind them: the other is answered."""

    async def scenario() -> None:
        limits = Batching(max_batch_rows=8)
        with ThreadPoolExecutor(32) as pool:  # the lanes' threads are shared by all
            full = Bench(Doubler(), limits, lanes=2, seconds=lambda rows: 0.002, pool=pool)
            other = Bench(Doubler(), limits, lanes=2, seconds=lambda rows: 0.0 if inline else 0.002, pool=pool)
            full.model.gate.clear()
            try:
                waiting = [full.submit([float(i)]) for i in range(400)]
                await turns()
                assert full.batcher.statistics().busy_lanes == 2
                for i in range(50):
                    async with asyncio.timeout(1):
                        assert values(await other.submit([float(i)])) == [2.0 * i]
                assert full.batcher.statistics().queued_rows == 400 - 2 * 8
            finally:
                full.model.gate.set()
            assert [values(await reply) for reply in waiting] == [[2.0 * i] for i in range(400)]

    run(scenario)


def test_two_ensembles_that_compute_on_the_loop_take_turns() -> None:
    """One has always more to compute: the other's batch comes behind one of its batches, not behind its queue."""

    async def scenario() -> None:
        async with bench(max_batch_rows=8, inline=True) as full, bench(max_batch_rows=8, inline=True) as other:
            waiting = [full.submit([float(i)]) for i in range(800)]
            await turns(2)
            before = len(full.model.batches)
            assert values(await other.submit([1.0])) == [2.0]
            assert len(full.model.batches) - before <= 3
            assert full.batcher.statistics().queued_rows > 0
            await asyncio.gather(*waiting)

    run(scenario)
