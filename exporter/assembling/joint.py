"""What a report says of members that trained jointly."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.optimisation.spec import Mode, Parallel
from exporter.reporting.diversity import Diversity
from exporter.reporting.joint import Jointly, correlation_between
from exporter.training.jobs import Made


def jointly(training: Mode, finals: Mapping[str, Made], diversity: Diversity | None) -> Jointly | None:
    """Of the published members by name; None where none trained with another."""
    members = next((made.joint for made in finals.values() if made.joint), ())
    if not members or not isinstance(training, Parallel) or training.joint is None:
        return None
    others = [name for name in finals if name not in members]
    return Jointly(
        pace=training.joint,
        members=members,
        independence=training.independence,
        fused=training.fused,
        decorrelation=training.decorrelation,
        mutual=training.mutual,
        error_correlation=correlation_between(diversity, members, members),
        with_others=correlation_between(diversity, members, others),
    )
