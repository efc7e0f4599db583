"""The plans that an ensemble could be run by on this machine, and why others could not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from server.errors import LoadError
from server.runtime.datatypes import Array, Feeds
from server.runtime.golden.golden_rows import tiled
from server.runtime.options import Layout, PlanName
from server.runtime.plans.merge import MergeError, Part, inlined, merge
from server.runtime.plans.opening import Opening, merged_key
from server.runtime.plans.plan import Merged, Parallel, Plan, Sequential, Slot
from server.runtime.prediction import Execution
from server.runtime.sessions.session import Model, RunError, takes_buffers

MAX_MERGED_BYTES = 256 * 2**20
"""Of all members together: the merged graph is a second copy of them, and large ones gain nothing by it."""
MAX_PARSED_BYTES = 8 * 2**20
"""Of all members together without weights that lie apart: Python's protobuf stops every other thread while it reads
and writes them, and what has so many (trees) takes too long for a merged graph to matter."""
ATOL, RTOL = 1e-6, 1e-5
"""The merged graph runs the same kernels; small differences come from operators fused in another way."""


class PlanError(Exception):
    """A plan cannot be used for this ensemble; the message says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan that works, and what it holds: threads, a session of its own."""

    plan: Plan
    held: ExitStack = field(default_factory=ExitStack)


class Candidates:
    """Makes plans for the slots of one ensemble in one layout; `cores` is the thread budget."""

    def __init__(self, opening: Opening, slots: Sequence[Slot], layout: Layout, cores: int) -> None:
        self._opening = opening
        self._slots = slots
        self._run_threads = layout.threads
        self._workers = max(1, cores // layout.threads)

    def make(self, name: PlanName, golden: Feeds) -> Candidate:
        """The plan of this name, tried on golden rows. Raises PlanError, and then nothing stays held."""
        if name == "sequential":
            return Candidate(Sequential(self._slots))
        if len(self._slots) == 1:
            raise PlanError("there is one member")
        with ExitStack() as held:
            plan = self._parallel(held) if name == "parallel" else self._merged(golden, held)
            return Candidate(plan, held.pop_all())

    def _parallel(self, held: ExitStack) -> Plan:
        if self._workers == 1:
            raise PlanError("the thread budget allows one member at a time")
        shared = self._opening.pool.workers
        executor = shared.acquire(self._workers)
        held.callback(shared.release, self._workers)
        self._opening.pool.spawn(executor, self._workers)
        return Parallel(self._slots, executor)

    def _merged(self, golden: Feeds, held: ExitStack) -> Plan:
        """The merged plan, after it gave what the members give on golden rows at three batch sizes, once a session."""
        self._check_mergeable()
        try:
            session = self._opening.merged(merged_key(self._slots, self._run_threads), self._graph, held)
        except (MergeError, LoadError) as error:
            raise PlanError(str(error)) from error
        separate = Sequential(self._slots)
        merged = Merged(session, [entry.name for entry in session.outputs], separate)
        pool = self._opening.pool
        if session in pool.proven:
            return merged  # the same session of the same members: a change of weights is quick
        known = Sequential(self._slots, recalling=True)  # the golden rows have run before
        for feeds in (golden, tiled(golden, 1), tiled(golden, 3)):
            try:
                given, expected = pool.in_background(partial(_both, merged, known, feeds))
                check_equal(self._slots, given, expected, "inside the merged graph")
            except RunError as error:
                raise PlanError(f"the merged graph fails on the golden rows: {error}") from error
        pool.proven.add(session)
        return merged

    def _check_mergeable(self) -> None:
        for slot in self._slots:
            if slot.rows is not None:
                raise PlanError(f"member {slot.member.name!r} is run in slices of {slot.rows} rows")
        first, *others = self._slots
        for slot in others:
            one, other = first.session, slot.session
            if (one.key.providers, one.providers) != (other.key.providers, other.providers):
                names = f"{first.member.name!r} and {slot.member.name!r}"
                raise PlanError(f"members {names} run on different execution providers")
        total = sum(session.bytes for session in {slot.session for slot in self._slots})
        if total > MAX_MERGED_BYTES:
            raise PlanError(f"the members have {total} bytes together, the limit is {MAX_MERGED_BYTES}")
        parsed = sum(session.parsed_bytes for session in {slot.session for slot in self._slots})
        if parsed > MAX_PARSED_BYTES:
            raise PlanError(
                f"the members have {parsed} bytes together beside their weights, the limit is {MAX_PARSED_BYTES}"
            )

    def _graph(self) -> Model:
        """Each file is read once, however many members share it."""
        models = {slot.session.key: slot.member for slot in reversed(self._slots)}
        read = {key: self._opening.model(member) for key, member in models.items()}
        merged = merge([Part(s.member.name, read[s.session.key], s.feeds, s.member.output) for s in self._slots])
        return merged if takes_buffers(name for name, _ in self._slots[0].session.key.providers) else inlined(merged)


def _both(merged: Merged, known: Sequential, feeds: Feeds) -> tuple[list[Array], Execution]:
    return merged.attempt(feeds), known.run(feeds)


def check_equal(slots: Sequence[Slot], given: Sequence[Array | None], separate: Execution, place: str) -> None:
    """Raise PlanError unless every member gives at `place` what it gives on its own."""
    if separate.failures:
        raise PlanError(f"member {separate.failures[0].member!r} fails on the golden rows")
    for slot, one, other in zip(slots, given, separate.raw, strict=True):
        assert other is not None, "without a failure every member has an output"
        if one is None or one.shape != other.shape or not np.allclose(one, other, RTOL, ATOL, equal_nan=True):
            raise PlanError(f"member {slot.member.name!r} gives other values {place}")
