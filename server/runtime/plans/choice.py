"""The choice of a plan and a layout: measured on this machine at load, remembered for sets of members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TypeVar

from server.errors import LoadError
from server.runtime.datatypes import Feeds
from server.runtime.golden.golden_rows import tiled
from server.runtime.options import Choice, Layout, PlanName, RuntimeOptions
from server.runtime.plans.candidates import Candidate, Candidates, PlanError, check_equal
from server.runtime.plans.measuring import (
    PATIENCE_S,
    Timing,
    compare,
    compared_sizes,
    fastest,
    pays,
    warm_up,
    warmed_sizes,
)
from server.runtime.plans.opening import Opening
from server.runtime.plans.plan import Plan, Sequential, Slot
from server.runtime.prediction import Execution
from server.runtime.sessions.pool import SessionPool
from server.runtime.sessions.providers import CPU

MAX_FEED_BYTES = 256 * 2**20
"""Of one batch made up for measuring; larger batches are first seen in a request."""
MAX_SECOND_BYTES = 256 * 2**20
"""Of the members that another layout would open a second time while it is measured."""
LAYOUTS_S = 10.0
"""After this long no further layout is measured; one that has begun is bounded as the plans are."""
THREADS_PAY_S = 2e-3
"""A full batch of a member that takes less has nothing to gain from threads: waking them costs tens of µs a layer."""

TOUCH_S = 0.05
"""Longest batch that is run beforehand where others of the same make told how long it takes."""

PLANS: tuple[PlanName, ...] = ("sequential", "parallel", "merged")

Name = TypeVar("Name", bound=Hashable)
Predict = Callable[[Plan, Feeds], object]
"""One whole prediction by a plan: what is timed."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """How an ensemble is run: by `plan`, its members in `slots`; `held` gives back what that takes."""

    plan: Plan
    slots: tuple[Slot, ...]
    choice: Choice
    held: ExitStack = field(default_factory=ExitStack)


class Bench:
    """Times whole predictions in the background, on golden rows repeated or cut to batches of up to `most_rows`."""

    def __init__(self, golden: Feeds, predict: Predict, most_rows: int, pool: SessionPool) -> None:
        self.golden = golden
        self.most_rows = most_rows
        self.sizes = compared_sizes(most_rows)
        self._predict = predict
        self._pool = pool
        self._batches: dict[int, Feeds] = {}

    def compare(self, plans: Mapping[Name, Plan], lanes: Mapping[Name, int]) -> dict[Name, Timing]:
        """Timings of each plan with lanes of its own."""
        runs = {name: self._run_of(plan) for name, plan in plans.items()}
        return self._pool.in_background(lambda: compare(runs, self.sizes, lanes))

    def warm_up(self, plan: Plan) -> list[float]:
        """Seconds of batches of 0 … `most_rows` rows, every batch size in use having run."""
        return self._pool.in_background(
            lambda: warm_up(lambda rows: self._predict(plan, tiled(self.golden, rows)), self.most_rows)
        )

    def touch(self, plan: Plan, seconds: Sequence[float]) -> None:
        """Run the largest batch that is soon done, where golden rows, which have run, were fewer: its memory is there.

        On the CPU a size costs nothing the first time but its memory (measured: 12.7 and 12.5 ms for 8 rows behind 16).
        """
        rows = max(rows for rows in warmed_sizes(self.most_rows) if rows == 1 or seconds[rows] <= TOUCH_S)
        if rows > len(next(iter(self.golden.values()))):
            self._pool.in_background(lambda: self._predict(plan, tiled(self.golden, rows)))

    def members(self, slots: Sequence[Slot]) -> Sequence[float]:
        """Seconds of a full batch of each member on its own; extrapolated from one row where that takes long."""
        return self._pool.in_background(lambda: self._members(Sequential(slots)))

    def _members(self, plan: Plan) -> Sequence[float]:
        rows = 1
        if sum(plan.run(self._batch(1)).seconds) * self.most_rows <= PATIENCE_S:
            rows = self.most_rows
        twice = [plan.run(self._batch(rows)).seconds for _ in range(2)]
        return [min(seconds) * self.most_rows / rows for seconds in zip(*twice, strict=True)]

    def _run_of(self, plan: Plan) -> Callable[[int], object]:
        return lambda rows: self._predict(plan, self._batch(rows))

    def _batch(self, rows: int) -> Feeds:
        if rows not in self._batches:
            self._batches[rows] = tiled(self.golden, rows)
        return self._batches[rows]


class Planning:
    """Chooses plan and layout of one ensemble. What they need goes to `held`, the rest is given back."""

    def __init__(self, opening: Opening, slots: Sequence[Slot], options: RuntimeOptions, held: ExitStack) -> None:
        self._opening = opening
        self._slots = tuple(slots)
        self._options = options
        self._wanted: tuple[PlanName, ...] = PLANS if options.plan == "auto" else (options.plan,)
        self._most_rows = opening.version.manifest.batching.max_batch_rows
        self._held = held

    def choose(self, golden: Feeds, predict: Predict) -> Chosen:
        """The fastest plan that gives what the members give, warmed up, in the layout that measured best.

        `golden` are the rows to measure with. Members that were measured together before keep their choice, and
        where their sessions are still warm nothing is run at all: a change of weights is quick. New members of the
        same make, as when a model is trained anew, are run as those before were: measuring takes seconds of a core
        that requests need. Where another layout won, the slots are new and those handed in were given back.
        """
        bench = Bench(golden, predict, _most_rows(golden, self._most_rows), self._opening.pool)
        kin = self._kin()
        chosen = self._remembered(golden) or self._inherited(kin, golden) or self._measured(bench)
        if not _warm(chosen.slots, bench.most_rows) or not chosen.choice.seconds:
            chosen = _warmed_up(chosen, bench)
        self._opening.remember(chosen.choice)
        self._opening.pool.kin.put(kin, chosen.choice)
        return chosen

    def _remembered(self, golden: Feeds) -> Chosen | None:
        choice = self._opening.known
        if choice is None:
            return None
        try:
            candidate = self._candidates(self._slots, choice.layout).make(choice.plan, golden)
        except PlanError:
            return None
        self._held.push(candidate.held)
        return Chosen(candidate.plan, self._slots, choice)

    def _inherited(self, kin: Hashable, golden: Feeds) -> Chosen | None:
        """As members of the same make were run; None where there were none, or where that cannot be had."""
        choice = self._opening.pool.kin.get(kin)
        if choice is None:
            return None
        with ExitStack() as held:
            slots = self._slots
            try:
                if choice.layout != self._opening.layout:
                    slots = self._reopened(choice, golden, held)
                candidate = self._candidates(slots, choice.layout).make(choice.plan, golden)
            except (LoadError, PlanError):
                return None
            held.push(candidate.held)
            kept = self._held.enter_context(held.pop_all())
        if slots is not self._slots:
            self._opening.members.close()
        return Chosen(candidate.plan, slots, choice, kept)

    def _reopened(self, choice: Choice, golden: Feeds, held: ExitStack) -> tuple[Slot, ...]:
        """The members with the threads that were chosen. Raises LoadError, or PlanError where they differ."""
        told = choice.threads or (choice.layout.threads,) * len(self._slots)
        names = [slot.member.name for slot in self._slots]
        slots = self._opening.slots(dict(zip(names, told, strict=True)), held)
        given, expected = self._both(slots, golden)
        check_equal(slots, given.raw, expected, f"with {choice.layout.threads} threads")
        return slots

    def _both(self, slots: Sequence[Slot], golden: Feeds) -> tuple[Execution, Execution]:
        """What the slots give, and what the members as they were opened do."""
        mine = Sequential(self._slots, recalling=True)
        return self._opening.pool.in_background(lambda: (Sequential(slots).run(golden), mine.run(golden)))

    def _kin(self) -> Hashable:
        """What members of the same make have in common, which tells how fast they are as far as can be told cheaply."""
        members = tuple(
            (s.session.bytes, s.session.inputs, s.session.outputs, s.session.key.providers, s.session.providers,
             tuple(s.feeds.items()), s.member.output)
            for s in self._slots
        )  # fmt: skip
        detectors = tuple((d.bytes, d.output) for d in self._opening.version.manifest.detectors)
        return members, detectors, self._most_rows, self._options.cores, self._options.lanes, self._options.plan

    def _measured(self, bench: Bench) -> Chosen:
        chosen = self._fastest_plan(bench)
        _, *others = self._options.layouts()
        if others and self._opening.layout == self._options.layout():
            return self._fastest_layout(chosen, others, bench)
        return chosen

    def _fastest_plan(self, bench: Bench) -> Chosen:
        """The fastest of the plans that can be had in the first layout; sequential where none of the wanted can."""
        layout = self._opening.layout
        with ExitStack() as losers:
            found, problems = self._plans(self._slots, layout, bench, losers)
            if not found:
                found["sequential"] = self._candidates(self._slots, layout).make("sequential", bench.golden)
            timings: dict[PlanName, Timing] = {}
            if len(found) > 1:
                plans = {name: candidate.plan for name, candidate in found.items()}
                timings = bench.compare(plans, dict.fromkeys(plans, layout.lanes))
            winner = fastest(timings) if timings else next(iter(found))
            held = self._held.enter_context(ExitStack())
            held.push(self._opening.members)
            held.push(found[winner].held.pop_all())
        return Chosen(found[winner].plan, self._slots, Choice(winner, _report(timings), problems, layout=layout), held)

    def _fastest_layout(self, chosen: Chosen, others: Sequence[Layout], bench: Bench) -> Chosen:
        """`chosen`, or what beats it with more threads: step by step, until a step does not pay."""
        started = perf_counter()
        large = self._large(bench)
        total = sum(session.bytes for session in {slot.session for slot in self._slots if slot.member.name in large})
        if total > MAX_SECOND_BYTES:
            problem = f"its members have {total} bytes, the limit for measuring is {MAX_SECOND_BYTES}"
            return _with_problem(chosen, others[0], problem)
        for layout in others if large else ():
            if perf_counter() - started > LAYOUTS_S:
                return _with_problem(chosen, layout, f"measuring took longer than {LAYOUTS_S:g} s")
            try:
                wider = self._wider(layout, large, chosen, bench)
            except (LoadError, PlanError) as error:
                return _with_problem(chosen, layout, str(error))
            if wider is None:
                break
            chosen = wider
        return chosen

    def _wider(self, layout: Layout, large: frozenset[str], current: Chosen, bench: Bench) -> Chosen | None:
        """The best plan of another layout if it pays, and then `current` is given back; else None.

        Raises LoadError or PlanError where the layout cannot be had, and then nothing of it stays held.
        """
        threads = {
            slot.member.name: layout.threads if slot.member.name in large else slot.session.key.threads
            for slot in self._slots
        }
        with ExitStack() as held, ExitStack() as losers:
            slots = self._opening.slots(threads, held)
            given, expected = self._both(slots, bench.golden)
            check_equal(slots, given.raw, expected, f"with {layout.threads} threads")
            found, problems = self._plans(slots, layout, bench, losers)
            if not found:
                raise PlanError("; ".join(f"{name}: {problem}" for name, problem in problems.items()))
            plans: dict[PlanName | None, Plan] = {name: candidate.plan for name, candidate in found.items()}
            lanes = {**dict.fromkeys(plans, layout.lanes), None: current.choice.layout.lanes}
            timings = bench.compare({None: current.plan, **plans}, lanes)
            now = timings.pop(None)
            others = {name: timings[name] for name in found}
            winner = fastest(others)
            if not pays(others[winner], now):
                return None
            held.push(found[winner].held.pop_all())
            kept = self._held.enter_context(held.pop_all())
        current.held.close()
        choice = Choice(winner, _report(others), problems, layout=layout, threads=tuple(threads.values()))
        return Chosen(found[winner].plan, slots, choice, kept)

    def _plans(
        self, slots: Sequence[Slot], layout: Layout, bench: Bench, losers: ExitStack
    ) -> tuple[dict[PlanName, Candidate], dict[str, str]]:
        """The wanted plans that can be had, closed with `losers` unless taken out; and why the others cannot."""
        candidates = self._candidates(slots, layout)
        found: dict[PlanName, Candidate] = {}
        problems: dict[str, str] = {}
        for name in self._wanted:
            try:
                found[name] = candidates.make(name, bench.golden)
            except PlanError as error:
                problems[name] = str(error)
            else:
                losers.push(found[name].held)
        return found, problems

    def _large(self, bench: Bench) -> frozenset[str]:
        """Members on the CPU whose full batch, that of their whole file, is long enough to be divided among threads."""
        slots = [slot for slot in self._slots if slot.session.providers == (CPU,)]
        sharing = Counter(slot.session for slot in slots)  # each of which is told its share of the file's time
        return frozenset(
            slot.member.name
            for slot, share in zip(slots, bench.members(slots), strict=True)
            if share * sharing[slot.session] >= THREADS_PAY_S
        )

    def _candidates(self, slots: Sequence[Slot], layout: Layout) -> Candidates:
        return Candidates(self._opening, slots, layout, self._options.cores)


def _warmed_up(chosen: Chosen, bench: Bench) -> Chosen:
    for slot in chosen.slots:
        slot.session.warm.add(bench.most_rows)
    # Elsewhere than on the CPU the first run of a size may compile it or capture a graph: none is left out.
    if chosen.choice.seconds and all(slot.session.providers == (CPU,) for slot in chosen.slots):
        # By a thread of low priority: the parallel plan's are the requests'.
        plan = Sequential(chosen.slots) if chosen.choice.plan == "parallel" else chosen.plan
        bench.touch(plan, chosen.choice.seconds)
        return chosen
    seconds = bench.warm_up(chosen.plan)
    report = chosen.choice.report or {chosen.plan.name: {rows: seconds[rows] for rows in bench.sizes}}
    return replace(chosen, choice=replace(chosen.choice, report=report, seconds=seconds))


def _warm(slots: Sequence[Slot], most_rows: int) -> bool:
    return all(most_rows in slot.session.warm for slot in slots)


def _with_problem(chosen: Chosen, layout: Layout, problem: str) -> Chosen:
    problems = {**chosen.choice.problems, str(layout): problem}
    return replace(chosen, choice=replace(chosen.choice, problems=problems))


def _report(timings: Mapping[PlanName, Timing]) -> dict[str, dict[int, float]]:
    return {name: timing.idle for name, timing in timings.items()}


def _most_rows(golden: Feeds, most_rows: int) -> int:
    """The largest batch to measure with: the most rows of a batch, or as many as the memory for it allows."""
    bytes_per_row = sum(array.nbytes // len(array) for array in golden.values())
    return max(1, min(most_rows, MAX_FEED_BYTES // max(1, bytes_per_row)))
