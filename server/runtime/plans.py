"""How the members of an ensemble are run: one after the other, side by side, or as one graph.

A plan is stateless and any number of lanes may run it at once. It gives raw outputs; alignment and fusion
are the same for every plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from time import perf_counter
from typing import NamedTuple, Protocol

from model_repo import Member
from server.runtime.datatypes import Array, Feeds
from server.runtime.options import PlanName
from server.runtime.prediction import Execution, MemberFailure
from server.runtime.sessions import RunError, Session


class Plan(Protocol):
    """Runs every member on one batch."""

    name: PlanName

    def run(self, feeds: Feeds) -> Execution:
        """Each member's raw output; a member that raises is a failure, not an exception."""


class Slot:
    """One member in its place: session, wiring and output name, bound once."""

    def __init__(self, member: Member, session: Session) -> None:
        self.member = member
        self.session = session
        self.feeds = {entry.name: member.inputs.get(entry.name, entry.name) for entry in session.inputs}
        self._outputs = [member.output]
        self._wiring = tuple(self.feeds.items())

    def run(self, feeds: Feeds) -> Array:
        """The member's raw output for a batch of the ensemble's inputs. Raises RunError."""
        return self.session.run(self._outputs, {name: feeds[source] for name, source in self._wiring})[0]


class Sequential:
    """One member after the other on the caller's thread; the plan that every other falls back to."""

    name: PlanName = "sequential"

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = tuple(slots)

    def run(self, feeds: Feeds) -> Execution:
        """Each member's raw output, with each member's seconds."""
        return _gathered([_timed(slot, feeds) for slot in self._slots])


class Parallel:
    """The members side by side on shared threads, while the caller's waits.

    A hop to a thread and back costs about 39 µs (measured), which large members pay back and small ones do not.
    """

    name: PlanName = "parallel"

    def __init__(self, slots: Sequence[Slot], workers: Executor) -> None:
        self._slots = tuple(slots)
        self._workers = workers

    def run(self, feeds: Feeds) -> Execution:
        """Each member's raw output, with each member's seconds on its thread."""
        submitted = [self._workers.submit(_timed, slot, feeds) for slot in self._slots]
        return _gathered([future.result() for future in submitted])


class Merged:
    """All members as one graph on the caller's thread: one call into onnxruntime in place of K.

    Where the graph raises, nobody knows which member it was: that batch is run one by one, which blames one.
    """

    name: PlanName = "merged"

    def __init__(self, session: Session, outputs: Sequence[str], fallback: Sequential) -> None:
        self._session = session
        self._outputs = list(outputs)
        self._fallback = fallback

    def run(self, feeds: Feeds) -> Execution:
        """Each member's raw output; without times, as they cannot be told apart."""
        try:
            return Execution(self.attempt(feeds))
        except RunError:
            return self._fallback.run(feeds)

    def attempt(self, feeds: Feeds) -> list[Array]:
        """Each member's raw output. Raises RunError."""
        return self._session.run(self._outputs, feeds)


class Closed:
    """The plan of an ensemble whose sessions were given back."""

    name: PlanName = "sequential"

    def run(self, feeds: Feeds) -> Execution:
        """Raises RuntimeError: whoever closes an ensemble has drained it."""
        raise RuntimeError("a closed ensemble was asked to predict; this is a bug")


class _Result(NamedTuple):
    output: Array | None
    failure: MemberFailure | None
    seconds: float


def _timed(slot: Slot, feeds: Feeds) -> _Result:
    started = perf_counter()
    try:
        output = slot.run(feeds)
    except RunError as error:
        failure = MemberFailure(slot.member.name, error.reason, error.detail)
        return _Result(None, failure, perf_counter() - started)
    return _Result(output, None, perf_counter() - started)


def _gathered(results: Sequence[_Result]) -> Execution:
    return Execution(
        [result.output for result in results],
        tuple(result.failure for result in results if result.failure is not None),
        tuple(result.seconds for result in results),
    )
