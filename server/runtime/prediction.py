"""What one batch gives: outputs, who answered, what failed, how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from server.runtime.datatypes import Array, Mask

FailureReason = Literal["error", "invalid_input", "not_finite", "shape", "distribution"]

Role = Literal["member", "detector", "extra"]

FUSION = "(fusion)"
"""Stands for a member where the learned fusion itself failed; no member can have this name."""

VOTERS = "(voters)"
"""An output for the metrics, of ensembles in which some members weigh nothing: `members` without those."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Datatype and shape of an output on the wire; the first dimension is -1, the rows."""

    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MemberFailure:
    """Why a member was left out, for some or all rows of a batch; `detail` is one line without paths.

    A detector or an extra that gave nothing is told in the same way; `role` says which of them `member` names.
    """

    member: str
    reason: FailureReason
    detail: str
    role: Role = "member"


class Execution(NamedTuple):
    """What a plan returns: each member's raw output, before alignment.

    `raw[k]` is None where member k raised; `failures` says why. `seconds` is empty when the members
    ran as one graph, and then a failure cannot be blamed on one of them; members of one file share its time.
    """

    raw: Sequence[Array | None]
    failures: tuple[MemberFailure, ...] = ()
    seconds: tuple[float, ...] = ()


@dataclass(slots=True)
class Prediction:
    """The answer to one batch of n rows.

    `outputs`: name → array [n, ...]; floats are float32, strings are object arrays of `str`.
    `answered`: bool [K, n], None when every member answered every row.
    `usable`: bool [n], None when quorum and required members hold for every row; outputs of other rows mean nothing.
    Times are seconds of the monotonic clock; `member_seconds` is empty for the merged plan, and of the ensemble's
    `voters` alone where the other members did not run.
    """

    outputs: dict[str, Array]
    answered: Mask | None
    usable: Mask | None
    failures: tuple[MemberFailure, ...]
    member_seconds: tuple[float, ...]
    compute_seconds: float
    fusion_seconds: float
