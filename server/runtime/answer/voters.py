"""The members that vote: those whose answer no weight is given to are run only when somebody asks what they say."""

from __future__ import annotations

import msgspec
import numpy as np

from model_repo import Geometric, Manifest, ReciprocalRank, Weighted
from server.runtime.answer.fusion import shares
from server.runtime.answer.stacking import Fuser, fuser
from server.runtime.answer.task_steps import alignment_of, answers_of
from server.runtime.datatypes import Array, Mask
from server.runtime.sessions.session import Session

BY_WEIGHT = (Weighted, Geometric, ReciprocalRank)
"""The rules to whose answer a member of weight 0 adds nothing. A vote's ties are broken by the mean of all."""

WITHOUT_IDLE = frozenset({
    "probabilities", "label", "confidence", "agreement", "entropy", "mutual_information", "conformal_set", "value",
    "scores", "ranking", "labels", "index", "embedding",
})  # fmt: skip
"""Outputs that are the same without the members of weight 0; every other needs all members."""


def idle_members(manifest: Manifest) -> frozenset[str]:
    """The members whose share of the fused answer is 0 and that are not required; none where the rule needs all."""
    if not isinstance(manifest.fusion, BY_WEIGHT):
        return frozenset()
    share = shares(manifest.fusion, [member.weight for member in manifest.members])
    return frozenset(
        member.name for member, own in zip(manifest.members, share, strict=True) if own == 0.0 and not member.required
    )


class Panel:
    """Members of one ensemble with the rule that fuses them, aligned, fused and told together. Any thread."""

    def __init__(self, manifest: Manifest, stacker: Session | None) -> None:
        self.names = tuple(member.name for member in manifest.members)
        self.alignment = alignment_of(manifest)
        self.fuse: Fuser = fuser(manifest, stacker)
        self.answers = answers_of(manifest)
        self._quorum = manifest.quorum
        self._required: Array = np.array([member.required for member in manifest.members])

    def usable(self, answered: Mask) -> Mask | None:
        """Rows for which the quorum holds and every required member answered; None when all are."""
        usable: Mask = answered.sum(axis=0) >= self._quorum
        usable &= answered[self._required].all(axis=0)
        return None if usable.all() else usable

    @staticmethod
    def of(manifest: Manifest, stacker: Session | None, without: frozenset[str] = frozenset()) -> Panel:
        """All members, or all but those named."""
        members = tuple(member for member in manifest.members if member.name not in without)
        return Panel(msgspec.structs.replace(manifest, members=members), stacker)
