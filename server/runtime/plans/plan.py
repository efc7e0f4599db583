"""How the members of an ensemble are run: one after the other, side by side, or as one graph.

A plan is stateless and any number of lanes may run it at once. It gives raw outputs; alignment and fusion
are the same for every plan. Members of one file are one unit: it runs once and gives each its own output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from time import perf_counter
from typing import NamedTuple, Protocol

from model_repo import Detector, Extra, Member, OnnxModel
from server.runtime.datatypes import Array, Feeds
from server.runtime.options import PlanName
from server.runtime.prediction import Execution, MemberFailure, Role
from server.runtime.sessions.batch_buckets import Bucketed, Buckets
from server.runtime.sessions.session import RunError, Session


class Plan(Protocol):
    """Runs every member on one batch."""

    name: PlanName

    def run(self, feeds: Feeds) -> Execution:
        """Each member's raw output; a member that raises is a failure, not an exception."""


class Slot:
    """One model in its place: session, wiring and output name, bound once."""

    def __init__(self, member: OnnxModel, session: Session) -> None:
        self.member = member
        self.session = session
        self.rows = member.rows if isinstance(member, Member) else None
        self.feeds = {entry.name: member.inputs.get(entry.name, entry.name) for entry in session.inputs}

    @property
    def role(self) -> Role:
        """What the model is for."""
        return role_of(self.member)


def role_of(model: OnnxModel) -> Role:
    """What the model is for."""
    if isinstance(model, Detector):
        return "detector"
    return "extra" if isinstance(model, Extra) else "member"


class Unit:
    """The models of one file that are fed alike: one session call gives the outputs of all.

    `places`: where its models are among those of the plan.
    """

    def __init__(self, slots: Sequence[Slot], places: Sequence[int], recalling: bool) -> None:
        self.slots = tuple(slots)
        self.places = tuple(places)
        session = slots[0].session
        self._ask = _in_slices(session.recall if recalling else session.run, slots[0].rows)
        self._wiring = tuple(slots[0].feeds.items())
        self._outputs = list(dict.fromkeys(slot.member.output for slot in slots))
        taken = [self._outputs.index(slot.member.output) for slot in slots]
        self._taken = None if taken == list(range(len(self._outputs))) else taken

    def run(self, feeds: Feeds) -> Sequence[Array]:
        """Each model's raw output for a batch of the ensemble's inputs. Raises RunError."""
        given = self._ask(self._outputs, {name: feeds[source] for name, source in self._wiring})
        return given if self._taken is None else [given[place] for place in self._taken]


def units(slots: Sequence[Slot], *, recalling: bool = False) -> tuple[Unit, ...]:
    """The slots by session and wiring, in the order of each unit's first; `recalling`: as `Session.recall`."""
    groups: dict[object, list[int]] = {}
    for place, slot in enumerate(slots):
        groups.setdefault((id(slot.session), slot.rows, tuple(slot.feeds.items())), []).append(place)
    return tuple(Unit([slots[place] for place in places], places, recalling) for places in groups.values())


Ask = Callable[[list[str], Feeds], Sequence[Array]]


def _in_slices(ask: Ask, rows: int | None) -> Ask:
    """`ask` for any number of rows where the model takes exactly `rows` of them; as it is where it takes any."""
    if rows is None:
        return ask
    sliced = Bucketed(lambda outputs, feeds, _: list(ask(outputs, feeds)), Buckets((rows,)))
    return lambda outputs, feeds: sliced(outputs, feeds, None)


class Sequential:
    """One member after the other on the caller's thread; the plan that every other falls back to.

    `recalling`: for golden rows, which a session that is shared with another version need not compute again.
    """

    name: PlanName = "sequential"

    def __init__(self, slots: Sequence[Slot], *, recalling: bool = False) -> None:
        self._units = units(slots, recalling=recalling)
        self._count = len(slots)

    def run(self, feeds: Feeds) -> Execution:
        """Each member's raw output, with each member's seconds: its share where a file has several."""
        return _gathered(self._units, [_timed(unit, feeds) for unit in self._units], self._count)


class Parallel:
    """The members side by side on shared threads, while the caller's waits.

    A hop to a thread and back costs about 39 µs (measured), which large members pay back and small ones do not.
    """

    name: PlanName = "parallel"

    def __init__(self, slots: Sequence[Slot], workers: Executor) -> None:
        self._units = units(slots)
        self._count = len(slots)
        self._workers = workers

    def run(self, feeds: Feeds) -> Execution:
        """Each member's raw output, with each member's seconds on its thread: its share where a file has several."""
        submitted = [self._workers.submit(_timed, unit, feeds) for unit in self._units]
        return _gathered(self._units, [future.result() for future in submitted], self._count)


class Merged:
    """All members as one graph on the caller's thread: one call into onnxruntime in place of K.

    Where the graph raises, nobody knows which member it was: that batch is run one by one, which blames one.
    """

    name: PlanName = "merged"

    def __init__(self, session: Session, outputs: Sequence[str], fallback: Sequential) -> None:
        self._session = session
        self._outputs = list(outputs)
        self._inputs = [entry.name for entry in session.inputs]
        self._fallback = fallback

    def run(self, feeds: Feeds) -> Execution:
        """Each member's raw output; without times, as they cannot be told apart."""
        try:
            return Execution(self.attempt(feeds))
        except RunError:
            return self._fallback.run(feeds)

    def attempt(self, feeds: Feeds) -> list[Array]:
        """Each member's raw output. Raises RunError."""
        if len(feeds) > len(self._inputs):  # what no member takes is for detectors, extras or tokenizers
            feeds = {name: feeds[name] for name in self._inputs}
        return self._session.run(self._outputs, feeds)


class Closed:
    """The plan of an ensemble whose sessions were given back."""

    name: PlanName = "sequential"

    def run(self, feeds: Feeds) -> Execution:
        """Raises RuntimeError: whoever closes an ensemble has drained it."""
        raise RuntimeError("a closed ensemble was asked to predict; this is a bug")


class _Result(NamedTuple):
    outputs: Sequence[Array] | None
    error: RunError | None
    seconds: float


def _timed(unit: Unit, feeds: Feeds) -> _Result:
    started = perf_counter()
    try:
        outputs = unit.run(feeds)
    except RunError as error:
        return _Result(None, error, perf_counter() - started)
    return _Result(outputs, None, perf_counter() - started)


def _gathered(run: Sequence[Unit], results: Sequence[_Result], count: int) -> Execution:
    raw: list[Array | None] = [None] * count
    seconds = [0.0] * count
    failures: list[MemberFailure] = []
    for unit, (outputs, error, taken) in zip(run, results, strict=True):
        share = taken / len(unit.places)
        for turn, place in enumerate(unit.places):
            seconds[place] = share
            if outputs is not None:
                raw[place] = outputs[turn]
        if error is not None:
            failures += [MemberFailure(s.member.name, error.reason, error.detail, s.role) for s in unit.slots]
    return Execution(raw, tuple(failures), tuple(seconds))
