"""What travels through a batcher: requests, their parts, and how a batch is put together and split again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from server.errors import ExtraFailed, InvalidTensor, QuorumLost, ServerError
from server.runtime import LoadedEnsemble, MemberFailure, Prediction
from server.serving.batching.answer import Answer
from server.serving.batching.rows import Array, Outputs

if TYPE_CHECKING:
    import asyncio

    from server.serving.batching.reply import DirectReply

Arrays = Mapping[str, Array]
Key = tuple[tuple[int, ...], ...]
"""Trailing shapes of the inputs: only rows of equal key can share a batch."""


@dataclass(slots=True, eq=False)
class Entry:
    """One request in the queue; it carries its own reply.

    `deadline` and `arrived` are seconds of the monotonic clock.
    """

    feeds: Arrays
    rows: int
    outputs: Collection[str]
    deadline: float
    reply: asyncio.Future[Answer] | DirectReply
    arrived: float
    key: Key = ()
    started: float = 0.0
    compute_s: float = 0.0
    open_parts: int = 1
    answered: bool = False
    results: list[Outcome | None] | None = None
    """Of an entry that is computed in several parts, each one's result."""


@dataclass(slots=True, eq=False)
class Part:
    """Rows `start:stop` of an entry: a request larger than a batch is several parts."""

    entry: Entry
    index: int
    start: int
    stop: int
    rows: int


Outcome = Answer | ServerError
"""What becomes of a part: its outputs and missing members, or the error that this part alone deserves."""


@dataclass(slots=True)
class BatchResult:
    """One computed batch: a result for each part and what the metrics want to know (seconds)."""

    parts: list[Outcome]
    prediction: Prediction
    helpless: frozenset[str]
    """Models that failed in each part on their own too, and for a good row: retrying does not help."""


def join(entry: Entry) -> Outcome:
    """The parts of an entry as one answer, rows in their order; the first error where a part has one."""
    assert entry.results is not None, "an entry of one part is not joined: this is a bug"
    answers: list[Answer] = []
    for result in entry.results:
        if isinstance(result, ServerError):
            return result
        assert result is not None, "an entry is joined before all its parts are there: this is a bug"
        answers.append(result)
    arrays = {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in entry.outputs}
    missing = tuple(dict.fromkeys(name for answer in answers for name in answer.missing))
    return Answer(Outputs(arrays), entry.outputs, 0, entry.rows, missing)


def outputs_of(parts: Sequence[Part], extra: Collection[str]) -> Collection[str]:
    """Every output that a part asks for, and `extra`."""
    first = parts[0].entry.outputs
    if not extra and all(part.entry.outputs is first for part in parts):
        return first
    return frozenset(extra).union(*(part.entry.outputs for part in parts))


def feeds_of(parts: Sequence[Part]) -> Arrays:
    """The rows of the parts, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        entry = first.entry
        if first.rows == entry.rows:
            return entry.feeds
        return {name: array[first.start : first.stop] for name, array in entry.feeds.items()}
    if all(part.entry.results is None for part in parts):
        return {name: np.concatenate([part.entry.feeds[name] for part in parts]) for name in first.entry.feeds}
    return {
        name: np.concatenate([part.entry.feeds[name][part.start : part.stop] for part in parts])
        for name in first.entry.feeds
    }


def split(ensemble: LoadedEnsemble, parts: Sequence[Part], prediction: Prediction) -> list[Outcome]:
    """What a prediction for these parts means for each."""
    results: list[Outcome] = []
    start = 0
    clean = prediction.answered is None
    whole = Outputs(prediction.outputs)
    failed = {f.member: f for f in prediction.failures if f.role == "extra"} if prediction.failures else {}
    for part in parts:
        stop = start + part.rows
        answer = Answer(whole, part.entry.outputs, start, stop)
        if failed and (lacking := [failed[name] for name in part.entry.outputs if name in failed]):
            results.append(_extra_failed(lacking[0]))
        else:
            results.append(answer if clean else _judged(ensemble, prediction, answer))
        start = stop
    return results


def _extra_failed(failure: MemberFailure) -> ServerError:
    if failure.reason == "invalid_input":
        return InvalidTensor(f"the inputs are refused by the model: extra '{failure.member}': {failure.detail}")
    return ExtraFailed(f"output '{failure.member}' cannot be given: {failure.detail}", (failure.member,))


def _judged(ensemble: LoadedEnsemble, prediction: Prediction, answer: Answer) -> Outcome:
    """A part of a batch in which members are missing: degraded, or failed where too few answered."""
    assert prediction.answered is not None
    start, stop = answer.start, answer.stop
    answered = [bool(rows.all()) for rows in prediction.answered[:, start:stop]]
    members = ensemble.manifest.members
    missing = tuple(member.name for member, whole in zip(members, answered, strict=True) if not whole)
    if prediction.usable is None or prediction.usable[start:stop].all():
        answer.missing = missing
        return answer
    return _lost(ensemble, prediction, missing)


def _lost(ensemble: LoadedEnsemble, prediction: Prediction, missing: tuple[str, ...]) -> ServerError:
    failures = [f for f in prediction.failures if f.member in missing]
    reasons = "; ".join(f"member '{f.member}': {f.detail}" for f in failures[:3])
    if failures and all(f.reason == "invalid_input" for f in failures):
        return InvalidTensor(f"the inputs are refused by the model: {reasons}")
    manifest = ensemble.manifest
    answered = len(manifest.members) - len(missing)
    return QuorumLost(
        f"{answered} of {len(manifest.members)} members answered, the quorum is {manifest.quorum}"
        f"{_required(ensemble, missing)}: {reasons}",
        missing,
    )


def _required(ensemble: LoadedEnsemble, missing: tuple[str, ...]) -> str:
    names = [m.name for m in ensemble.manifest.members if m.required and m.name in missing]
    return f" and required is {', '.join(names)}" if names else ""
