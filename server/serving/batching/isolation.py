"""One batch computed so that whoever spoils it fails alone: members, extras, detectors and tokenizers alike.

Synchronous and free of asyncio's loop: `compute` runs on a lane's thread or, for tiny batches, on the loop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from math import isqrt

from server.errors import InvalidTensor, QuorumLost
from server.runtime import LoadedEnsemble, MemberFailure, Prediction
from server.serving.batching.batch import BatchResult, Outcome, Part, feeds_of, outputs_of, split

REQUEST_SCOPED = frozenset({"error", "invalid_input", "shape"})
"""Failures that strike a whole batch and may be one request's doing; the others mask single rows."""

FEW = 8
"""So many requests are run one by one at once; more are run in groups first."""

Names = frozenset[str]
NOBODY: Names = frozenset()


def compute(
    ensemble: LoadedEnsemble, parts: Sequence[Part], extra: Collection[str], known_bad: frozenset[str]
) -> BatchResult:
    """Run one batch and split it; `extra` outputs are computed for the metrics and given to nobody.

    Where a model fails as a whole, the parts that need it are run once more: in groups, then those of a group that
    fails alone, so that one bad request fails alone. Not for models in `known_bad`, which failed for everybody the
    last time and for a row that is known to be good.
    """
    wanted = outputs_of(parts, extra)
    prediction = ensemble.predict(feeds_of(parts), wanted)
    if not prediction.failures:
        still_bad = known_bad and known_bad - ensemble.models_of(wanted)
        return BatchResult(split(ensemble, parts, prediction), prediction, still_bad)
    return _Isolation(ensemble, known_bad).of(parts, wanted, prediction)


class _Isolation:
    """What becomes of one batch in which something failed."""

    def __init__(self, ensemble: LoadedEnsemble, known_bad: Names) -> None:
        self._ensemble = ensemble
        self._known_bad = known_bad
        self._failures: dict[tuple[str, str], MemberFailure] = {}
        self._alone: list[Names] = []
        """Of each part that was run alone, what failed."""

    def of(self, parts: Sequence[Part], wanted: Collection[str], prediction: Prediction) -> BatchResult:
        suspects = _suspects(prediction)
        doubted = suspects - self._known_bad
        results = split(self._ensemble, parts, prediction)
        still_bad = self._known_bad - (self._ensemble.models_of(wanted) - suspects)
        if len(parts) == 1:
            results[0] = self._explained(parts[0], results[0])
        elif doubted:
            self._note([f for f in prediction.failures if f.member not in doubted])
            needing = self._ensemble.models_of
            concerned = [at for at, part in enumerate(parts) if not doubted.isdisjoint(needing(part.entry.outputs))]
            for at, outcome in self._again(parts, concerned):
                results[at] = outcome
            prediction.failures = tuple(self._failures.values())
            still_bad |= self._helpless(doubted, wanted)
        return BatchResult(results, prediction, still_bad)

    def _again(self, parts: Sequence[Part], places: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        """The outcomes of the parts at `places`, in groups as long as nothing fails in them."""
        size = 1 if len(places) <= FEW else isqrt(len(places) - 1) + 1
        for start in range(0, len(places), size):
            group = places[start : start + size]
            if len(group) > 1:
                some = [parts[at] for at in group]
                one = self._ensemble.predict(feeds_of(some), outputs_of(some, ()))
                if not _suspects(one) - self._known_bad:
                    self._note(one.failures)
                    yield from zip(group, split(self._ensemble, some, one), strict=True)
                    continue
            for at in group:
                yield at, self._by_itself(parts[at])

    def _by_itself(self, part: Part) -> Outcome:
        one = self._ensemble.predict(feeds_of([part]), part.entry.outputs)
        self._note(one.failures)
        self._alone.append(_suspects(one))
        return self._explained(part, split(self._ensemble, [part], one)[0])

    def _explained(self, part: Part, outcome: Outcome) -> Outcome:
        """The outcome of a part that was run alone: what its shape is to blame for is told as that."""
        if not isinstance(outcome, (QuorumLost, InvalidTensor)):
            return outcome
        problem = self._ensemble.shape_problem(feeds_of([part]), part.entry.outputs)
        return outcome if problem is None else InvalidTensor(f"the inputs are refused by the model: {problem}")

    def _helpless(self, doubted: Names, wanted: Collection[str]) -> Names:
        """Those that failed for each part alone, and for a good row as well: trying again does not help."""
        everywhere = frozenset.intersection(doubted, *self._alone) if self._alone else NOBODY
        return everywhere & _suspects(self._ensemble.probe(wanted)) if everywhere else NOBODY

    def _note(self, failures: Sequence[MemberFailure]) -> None:
        """What the metrics are told: each model once by reason, as it was seen last."""
        self._failures.update({(f.member, f.reason): f for f in failures})


def _suspects(prediction: Prediction) -> Names:
    return frozenset(f.member for f in prediction.failures if f.reason in REQUEST_SCOPED)
