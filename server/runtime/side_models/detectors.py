"""How strange a row is: the scores of detectors, made comparable and fused to one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_repo import Manifest
from server.runtime.datatypes import Array, Feeds, Floats
from server.runtime.plans.candidates import Candidates, PlanError
from server.runtime.plans.plan import Plan, Sequential, Slot
from server.runtime.prediction import FailureReason, MemberFailure, OutputSpec
from server.runtime.side_model import GATE, SCORE, Beside


def detector_specs(manifest: Manifest) -> dict[str, OutputSpec]:
    """The outputs that the manifest's detectors give; all of them are default outputs."""
    if not manifest.detectors:
        return {}
    gate = {} if manifest.ood_threshold is None else {GATE: OutputSpec("BOOL", (-1,))}
    return {SCORE: OutputSpec("FP32", (-1,))} | gate


class Scale:
    """A detector's scores as shares of the reference rows that are less strange, 0 to 1: their empirical CDF."""

    def __init__(self, quantiles: ArrayLike) -> None:
        scores = np.asarray(quantiles, dtype=np.float64)
        shares = np.linspace(0.0, 1.0, len(scores))
        self._scores, first, counts = np.unique(scores, return_index=True, return_counts=True)
        # A score that several quantiles share stands in their middle: interpolation wants a function.
        self._shares: Floats = (shares[first] + shares[first + counts - 1]) / 2.0

    def __call__(self, raw: NDArray[np.floating]) -> Floats:
        """float64 [n] of scores [n]: below all 0, above all 1, an infinite score too; NaN where it is NaN."""
        placed: Floats = np.interp(raw.astype(np.float64), self._scores, self._shares, left=0.0, right=1.0)
        placed[np.isnan(raw)] = np.nan  # one distinct score would place it among the others
        return placed


def weighted_mean(places: Floats, weights: Floats) -> Floats:
    """float64 [n] of shares [D, n] and weights [D, 1]: the mean over those that answered, NaN where none did."""
    there = ~np.isnan(places)
    own = np.where(there, weights, 0.0)
    total = own.sum(axis=0)
    summed = (own * np.where(there, places, 0.0)).sum(axis=0)
    score: Floats = np.where(total > 0.0, summed / np.where(total > 0.0, total, 1.0), np.nan)
    return score


class Detecting:
    """The detectors of one ensemble, bound to their sessions. Stateless once merged; any thread.

    A detector of weight 0 is loaded and not run.
    """

    def __init__(self, manifest: Manifest, slots: Sequence[Slot]) -> None:
        used = [(d, slot) for d, slot in zip(manifest.detectors, slots, strict=True) if d.weight > 0]
        self.specs = detector_specs(manifest)
        self._slots = tuple(slot for _, slot in used)
        self._scales = tuple(Scale(detector.quantiles) for detector, _ in used)
        self._weights = np.array([detector.weight for detector, _ in used])[:, None]
        self._threshold = manifest.ood_threshold
        self._names = frozenset(slot.member.name for slot in self._slots)
        self._plan: Plan = Sequential(self._slots)

    def merge(self, candidates: Candidates, golden: Feeds, held: ExitStack) -> None:
        """Run all of them as one graph from now on, where one can be had that gives the same."""
        try:
            candidate = candidates.make("merged", golden)
        except PlanError:
            return
        held.push(candidate.held.pop_all())
        self._plan = candidate.plan

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The detectors that are run."""
        return self._slots

    def answer(self, asked: Collection[str], feeds: Feeds, rows: int) -> Beside:
        """`ood_score` float32 [n], and `in_distribution` bool [n] where there is a threshold."""
        execution = self._plan.run(feeds)
        failures = list(execution.failures)
        places = np.full((len(self._slots), rows), np.nan)
        for k, raw in enumerate(execution.raw):
            if raw is not None:
                self._place(places[k], k, raw, failures)
        return Beside(self._outputs(asked, weighted_mean(places, self._weights)), tuple(failures))

    def refused(self, asked: Collection[str], rows: int, detail: str) -> Beside:
        """No score for any row."""
        failures = tuple(MemberFailure(s.member.name, "invalid_input", detail, "detector") for s in self._slots)
        return Beside(self._outputs(asked, np.full(rows, np.nan)), failures)

    def models_of(self, asked: Collection[str]) -> frozenset[str]:
        """Every detector that is run, where a score or a verdict is asked for."""
        return self._names if any(name in self.specs for name in asked) else frozenset()

    def _place(self, place: Floats, k: int, raw: Array, failures: list[MemberFailure]) -> None:
        """Write detector k's scores as shares; what they lack is told."""
        rows = len(place)
        if raw.shape not in ((rows,), (rows, 1)):
            failures.append(self._failure(k, "shape", f"gave {list(raw.shape)}, expected [{rows}] or [{rows}, 1]"))
            return
        place[:] = self._scales[k](raw.reshape(rows))
        if missing := int(np.isnan(place).sum()):
            failures.append(self._failure(k, "not_finite", f"{missing} of {rows} rows NaN"))

    def _outputs(self, asked: Collection[str], score: Floats) -> dict[str, Array]:
        told = score.astype(np.float32)
        outputs: dict[str, Array] = {SCORE: told} if SCORE in asked else {}
        if GATE in asked and self._threshold is not None:
            outputs[GATE] = told <= self._threshold
        return outputs

    def _failure(self, k: int, reason: FailureReason, detail: str) -> MemberFailure:
        return MemberFailure(self._slots[k].member.name, reason, detail, "detector")
