"""Runs a plan and hands back what happened."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from loadtest.errors import LoadtestError, TargetError
from loadtest.load.arrivals import Phase, arrivals, extended, spans
from loadtest.load.load import Load
from loadtest.load.outcome import Outcome
from loadtest.load.record import Record, Sample
from loadtest.load.scenarios import CAPACITY_CONNECTIONS, Plan, phases
from loadtest.load.target import OURS, Target, discover
from loadtest.load.wire import Address
from loadtest.swaps.swaps import Command, Publish, Published, Republisher, Swapper

LEAD_S = 0.02
"""From setting up to the first due time of an open loop."""


@dataclass(frozen=True, slots=True)
class Span:
    """A reported stretch of the run, in seconds since its start; `rate` None in a closed loop."""

    name: str
    start: float
    end: float
    rate: float | None


@dataclass(slots=True)
class Run:
    """Everything that happened. Times in seconds since the end of the warm-up, whose requests are negative."""

    plan: Plan
    url: str
    ensemble: str
    sample: Sample
    spans: list[Span]
    published: list[Published]
    examples: dict[Outcome, str]
    cpu_share: float
    """Processor time of the generator per second of the run: near 1 it measures itself."""
    server: str = OURS
    """What the server calls itself."""


@dataclass(slots=True)
class _Clock:
    """Where the run's seconds are counted from, and what the process has used since."""

    origin: float
    cpu: float = field(default_factory=time.process_time)
    began: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        return time.monotonic() - self.origin

    def cpu_share(self) -> float:
        return (time.process_time() - self.cpu) / max(1e-9, time.monotonic() - self.began)


Progress = Callable[[float, int], None]
"""Told now and then: seconds since the start of the run, requests decided so far."""
PROGRESS_S = 0.5


def run(plan: Plan, progress: Progress | None = None) -> Run:
    """Run the plan in an event loop of its own, uvloop where there is one; raises LoadtestError."""
    try:
        import uvloop
    except ImportError:  # no wheel for this platform: slower, nothing else
        new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    else:
        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner, _quiet_collector():
        return runner.run(run_async(plan, progress))


async def run_async(plan: Plan, progress: Progress | None = None) -> Run:
    """The same on the running loop; it sets the loop's exception handler while it lasts."""
    options = plan.options
    target = await discover(
        Address.parse(options.url),
        options.ensemble,
        rows=options.rows,
        protocol=options.protocol,
        seed=options.seed,
        timeout_s=options.timeout_s,
    )
    record = Record()
    clock = _Clock(time.monotonic() + (LEAD_S if plan.phases else 0.0) + options.warmup_s)
    try:
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(_tell(progress, clock, record)) if progress else None
            made, published = await _load(plan, target, record, clock)
            if telling:
                telling.cancel()
    except BaseExceptionGroup as group:
        raise _told(group) from group
    return Run(
        plan=plan,
        url=str(target.address),
        ensemble=target.ensemble,
        sample=record.sample(clock.origin),
        spans=made,
        published=[
            replace(one, began=one.began - clock.origin, returned=one.returned - clock.origin) for one in published
        ],
        examples=record.examples,
        cpu_share=clock.cpu_share(),
        server=target.server,
    )


async def _tell(progress: Progress, clock: _Clock, record: Record) -> None:
    while True:
        progress(max(0.0, clock.elapsed()), len(record))
        await asyncio.sleep(PROGRESS_S)


async def _load(plan: Plan, target: Target, record: Record, clock: _Clock) -> tuple[list[Span], list[Published]]:
    if plan.measures_capacity:
        return await _overload(plan, target, record, clock), []
    if not plan.swaps:
        return await _plain(plan, target, record, clock, None), []
    async with _publisher(plan, target) as publish:
        options = plan.options
        swapper = Swapper(publish, swaps=plan.swaps, over_s=plan.duration_s, patience_s=options.patience_s)
        record.on_version = swapper.saw
        async with asyncio.TaskGroup() as group:
            swapping = group.create_task(swapper.run(clock.origin))
            made = await _plain(plan, target, record, clock, swapper)
            swapping.cancel()
        return made, swapper.published


async def _plain(plan: Plan, target: Target, record: Record, clock: _Clock, swapper: Swapper | None) -> list[Span]:
    """The plan's phases, or its closed loop; with a swapper the last of it lasts until the swaps are over."""
    latest = plan.duration_s + (plan.options.patience_s + plan.options.settle_s if swapper else 0)

    def over() -> bool:
        return swapper is None or swapper.settled(plan.options.settle_s)

    load = _new_load(plan, target, record, plan.connections)
    if plan.phases:
        due_times = _due_times(plan, over if swapper else None, latest)
        await load.open_loop(clock.origin - plan.options.warmup_s, due_times)
    else:
        await load.closed_loop(lambda: (clock.elapsed() >= plan.duration_s and over()) or clock.elapsed() >= latest)
    made = [Span(phase.name, start, end, phase.rate) for phase, start, end in spans(plan.phases)]
    made = made or [Span(plan.options.scenario, 0.0, plan.duration_s, None)]
    if swapper:  # one span, as long as it took
        made = [Span(made[0].name, 0.0, max(plan.duration_s, clock.elapsed()), made[0].rate)]
    return made


def _due_times(plan: Plan, until: Callable[[], bool] | None, latest: float) -> Iterator[float]:
    options = plan.options
    rng = np.random.default_rng(options.seed)
    warmup = options.warmup_s
    first, last = plan.phases[0].rate, plan.phases[-1].rate
    due_times = arrivals((Phase("warm-up", warmup, first), *plan.phases), options.process, rng)
    if until is None:
        return due_times
    end = warmup + plan.duration_s
    return extended(due_times, until, last, options.process, rng, end_s=end, at_most_s=warmup + latest)


async def _overload(plan: Plan, target: Target, record: Record, clock: _Clock) -> list[Span]:
    """A quarter of the time to find the capacity by a closed loop, the rest at a multiple of it."""
    measured_s = plan.duration_s / 4
    load = _new_load(plan, target, record, CAPACITY_CONNECTIONS)
    await load.closed_loop(lambda: clock.elapsed() >= measured_s)
    sample = record.sample(clock.origin).between(0.0, measured_s)
    capacity = float(sample.answered.sum()) / measured_s
    if not capacity:
        raise TargetError(f"{target.address}: no request was answered while its capacity was measured")
    (phase,) = phases("overload", capacity, plan.duration_s - measured_s)
    start = clock.elapsed() + LEAD_S
    rng = np.random.default_rng(plan.options.seed)
    load = _new_load(plan, target, record, plan.connections)
    await load.open_loop(clock.origin + start, arrivals([phase], plan.options.process, rng))
    return [
        Span("capacity", 0.0, measured_s, None),
        Span(phase.name, start, start + phase.seconds, phase.rate),
    ]


def _new_load(plan: Plan, target: Target, record: Record, connections: int) -> Load:
    return Load(target, record, connections=connections, timeout_s=plan.options.timeout_s)


@contextlib.asynccontextmanager
async def _publisher(plan: Plan, target: Target) -> AsyncIterator[Publish]:
    options = plan.options
    if options.swap_command is not None:
        yield Command(options.swap_command).publish
    elif options.repository is not None:
        async with Republisher(options.repository, target.ensemble) as republisher:
            yield republisher.publish


@contextlib.contextmanager
def _quiet_collector() -> Iterator[None]:
    """What is alive already is not looked at again: a full collection would show up in p99.9."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _told(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error raised on purpose inside a task group's, else the group."""
    ours = group.subgroup(LoadtestError)
    while ours is not None and isinstance(ours.exceptions[0], BaseExceptionGroup):
        ours = ours.exceptions[0]
    return ours.exceptions[0] if ours else group
