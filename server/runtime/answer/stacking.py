"""The learned rule in service: `fusion.onnx`, and its fallback wherever it cannot answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from model_repo import Manifest, Stacked
from server.runtime.answer.alignment import SUM_TOLERANCE
from server.runtime.answer.fusion import Rule, Stacker, learned
from server.runtime.answer.task_steps import rule_of
from server.runtime.datatypes import Floats, Mask
from server.runtime.prediction import FUSION, FailureReason, MemberFailure
from server.runtime.sessions.session import RunError, Session

Fuser = Callable[[Floats, Mask | None], tuple[Floats, tuple[MemberFailure, ...]]]
"""float64 [K, n, C] and bool [K, n] or None → float64 [n, C], and what went wrong in a learned rule."""


def fuser(manifest: Manifest, stacker: Session | None) -> Fuser:
    """The ensemble's rule, fixed or learned, bound to its weights. `stacker` is the session of `fusion.onnx`."""
    fusion = manifest.fusion
    if isinstance(fusion, Stacked):
        assert stacker is not None, "a stacked fusion has a session"
        return Stacking(fusion, [member.weight for member in manifest.members], _learned(stacker))
    rule = rule_of(manifest)
    return lambda P, mask: (rule(P, mask), ())


class Stacking:
    """The learned rule of one ensemble, bound to its session. Stateless; any thread.

    Rows that a member is missing from get the fallback rule with the fallback's temperature, and so do rows for
    which the learned rule raises or gives no distribution; those are reported as a failure of `(fusion)`.
    """

    def __init__(self, fusion: Stacked, weights: Sequence[float], run: Stacker) -> None:
        self._temperature = fusion.temperature
        self._fallback = Rule(fusion.fallback, weights)
        self._run = run

    def __call__(self, P: Floats, mask: Mask | None) -> tuple[Floats, tuple[MemberFailure, ...]]:
        """float64 [n, C] of float64 [K, n, C] and bool [K, n], and what went wrong in the learned rule."""
        if mask is None:
            return self._complete(P)
        fused = self._fallback(P, mask)
        complete = mask.all(axis=0)
        if not complete.any():
            return fused, ()
        fused[complete], failures = self._complete(P[:, complete])
        return fused, failures

    def _complete(self, P: Floats) -> tuple[Floats, tuple[MemberFailure, ...]]:
        """The learned answer for rows that every member answered."""
        try:
            fused = learned(P, self._run, self._temperature)
        except RunError as error:
            return self._fallback(P), (MemberFailure(FUSION, error.reason, error.detail),)
        if fused.shape != P.shape[1:]:
            detail = f"gave {list(fused.shape)}, expected {list(P.shape[1:])}"
            return self._fallback(P), (MemberFailure(FUSION, "shape", detail),)
        good = np.abs(fused.sum(axis=1) - 1.0) <= SUM_TOLERANCE  # false where it is NaN
        if good.all():
            return fused, ()
        fused[~good] = self._fallback(P[:, ~good])
        return fused, (_undistributed(good),)


def _learned(session: Session) -> Stacker:
    source, outputs = session.inputs[0].name, [session.outputs[0].name]
    return lambda P: session.run(outputs, {source: P})[0]


def _undistributed(good: Mask) -> MemberFailure:
    reason: FailureReason = "distribution"
    return MemberFailure(FUSION, reason, f"{int((~good).sum())} of {len(good)} rows are no distribution")
