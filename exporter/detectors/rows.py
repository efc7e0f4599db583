"""Lines of the leaderboard about detectors."""

from __future__ import annotations

import msgspec


class DetectorRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How well a detector, or all together (`ood_score`), tells test rows from rows that were made up."""

    name: str
    family: str = ""
    auroc_permuted: float
    """Against test rows whose numbers were each taken from another row."""
    auroc_random: float
    """Against rows of numbers drawn evenly from their range."""
    flagged: float | None = None
    """Share of the test rows above the threshold, where there is one."""
