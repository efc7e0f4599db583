"""What models that never vote add to an answer: the face that detectors and extras have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from server.runtime.datatypes import Array, Feeds
from server.runtime.prediction import MemberFailure, OutputSpec

SCORE = "ood_score"
GATE = "in_distribution"


class Beside(NamedTuple):
    """Outputs by name, and what failed; the output of an extra that failed is not there."""

    outputs: dict[str, Array]
    failures: tuple[MemberFailure, ...] = ()


class SideModels(Protocol):
    """Detectors, or extras: run after the members on the same feeds, when one of their outputs is asked for."""

    @property
    def specs(self) -> Mapping[str, OutputSpec]:
        """The outputs that they offer."""

    def answer(self, asked: Collection[str], feeds: Feeds, rows: int) -> Beside:
        """Those of the outputs asked for that are theirs, for a batch of `rows` rows."""

    def refused(self, asked: Collection[str], rows: int, detail: str) -> Beside:
        """The same for a batch whose inputs cannot be used; `detail` says why."""

    def models_of(self, asked: Collection[str]) -> frozenset[str]:
        """The models that those of the outputs asked for hang on."""
