"""What members began with, as the report says it."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.reporting.beginnings import Beginning
from exporter.training.jobs import FINAL, Job, Made


def beginnings_of(results: Mapping[Job, Made], folds: int) -> tuple[Beginning, ...]:
    """Of each member that began with given parameters, once for all that one training made."""
    found, known = [], set()
    for job, made in results.items():
        if job.start is None or not job.start.trains or job.fold != FINAL or made.parameters in known:
            continue
        known.add(made.parameters)
        several = len(made.begun) > 1
        named = [
            (f"{place}." if several else "", begun) for place, begun in enumerate(made.begun)
        ]  # fmt: skip
        anew = any(other.start is None for other in results if other.member == job.member and other.fold != FINAL)
        found.append(
            Beginning(
                member=job.member,
                source=job.start.source,
                sha256=job.start.digest,
                taken=tuple(prefix + name for prefix, begun in named for name in begun.taken),
                own=tuple(prefix + name for prefix, begun in named for name in begun.own),
                unused=tuple(prefix + name for prefix, begun in named for name in begun.unused),
                folds_anew=folds > 0 and anew,
            )
        )
    return tuple(found)
