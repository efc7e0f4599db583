"""The choice of a plan: measured on this machine at load, remembered for sets of sessions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack

from server.runtime.candidates import Candidate, Candidates, PlanError
from server.runtime.datatypes import Feeds
from server.runtime.golden import tiled
from server.runtime.measuring import Choice, Run, compare, compared_sizes, fastest, warm_up
from server.runtime.opening import Opening, merged_key
from server.runtime.options import PlanName, RuntimeOptions
from server.runtime.plans import Plan, Slot

MAX_FEED_BYTES = 256 * 2**20
"""Of one batch made up for measuring; larger batches are first seen in a request."""

PLANS: tuple[PlanName, ...] = ("sequential", "parallel", "merged")

Predict = Callable[[Plan, Feeds], object]
"""One whole prediction by a plan: what is timed."""


class Planning:
    """Chooses the plan of one ensemble. What the chosen plan needs goes to `held`, the rest is given back."""

    def __init__(self, opening: Opening, slots: Sequence[Slot], options: RuntimeOptions, held: ExitStack) -> None:
        self._slots = slots
        self._layout = options.layout()
        self._wanted: tuple[PlanName, ...] = PLANS if options.plan == "auto" else (options.plan,)
        self._candidates = Candidates(opening, slots, options)
        self._choices = opening.pool.choices
        self._held = held
        self._most_rows = opening.version.manifest.batching.max_batch_rows
        self._key = self._choice_key(options)

    def choose(self, golden: Feeds, predict: Predict) -> tuple[Plan, Choice]:
        """The fastest plan that gives what the members give, warmed up, and the figures that chose it.

        `golden` are the rows to measure with. Sessions that were measured together before keep their choice, and
        where they are still warm nothing is run but a check of the plan: a change of weights is quick.
        """
        most_rows = _most_rows(golden, self._most_rows)
        known = self._choices.get(self._key)
        if known is None or (candidate := self._known(known, golden)) is None:
            candidate, known = self._compared(golden, predict, most_rows)
        self._held.enter_context(candidate.held)
        if not known.seconds or not self._warm(most_rows):
            known = self._warmed_up(candidate.plan, known, golden, predict, most_rows)
        self._choices.put(self._key, known)
        return candidate.plan, known

    def _known(self, choice: Choice, golden: Feeds) -> Candidate | None:
        try:
            return self._candidates.make(choice.plan, golden)
        except PlanError:
            return None

    def _compared(self, golden: Feeds, predict: Predict, most_rows: int) -> tuple[Candidate, Choice]:
        """The fastest of the plans that can be had; sequential where none of the wanted can."""
        found: dict[PlanName, Candidate] = {}
        problems: dict[str, str] = {}
        with ExitStack() as losers:
            for name in self._wanted:
                try:
                    found[name] = self._candidates.make(name, golden)
                except PlanError as error:
                    problems[name] = str(error)
                else:
                    losers.push(found[name].held)
            if not found:
                found["sequential"] = self._candidates.make("sequential", golden)
            choice = self._measured(found, problems, golden, predict, most_rows)
            winner = found[choice.plan]
            kept = Candidate(winner.plan, winner.held.pop_all())
        return kept, choice

    def _measured(
        self,
        found: dict[PlanName, Candidate],
        problems: dict[str, str],
        golden: Feeds,
        predict: Predict,
        most_rows: int,
    ) -> Choice:
        if len(found) == 1:
            return Choice(next(iter(found)), {}, problems)
        sizes = compared_sizes(most_rows)
        batches = {size: tiled(golden, size) for size in sizes}

        def run_of(plan: Plan) -> Run:
            return lambda rows: predict(plan, batches[rows])

        runs = {name: run_of(candidate.plan) for name, candidate in found.items()}
        timings = compare(runs, sizes, self._layout.lanes)
        return Choice(fastest(timings), {name: timing.idle for name, timing in timings.items()}, problems)

    def _warmed_up(self, plan: Plan, choice: Choice, golden: Feeds, predict: Predict, most_rows: int) -> Choice:
        seconds = warm_up(lambda rows: predict(plan, tiled(golden, rows)), most_rows)
        for slot in self._slots:
            slot.session.warm.add(most_rows)
        report = choice.report or {plan.name: {rows: seconds[rows] for rows in compared_sizes(most_rows)}}
        return Choice(choice.plan, report, choice.problems, seconds)

    def _warm(self, most_rows: int) -> bool:
        return all(most_rows in slot.session.warm for slot in self._slots)

    def _choice_key(self, options: RuntimeOptions) -> Hashable:
        """What measuring depends on: the sessions and their wiring, the layout, the batch and what was asked for."""
        sessions = tuple(slot.session.key for slot in self._slots)
        wiring = merged_key(self._slots, self._layout.threads)
        return sessions, wiring, self._layout, options.cores, options.plan, self._most_rows


def _most_rows(golden: Feeds, most_rows: int) -> int:
    """The largest batch to measure with: the most rows of a batch, or as many as the memory for it allows."""
    bytes_per_row = sum(array.nbytes // len(array) for array in golden.values())
    return max(1, min(most_rows, MAX_FEED_BYTES // max(1, bytes_per_row)))
