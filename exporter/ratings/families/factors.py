"""Matrix factorisation: personal factors by alternating least squares."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Rate
from exporter.ratings.families.baseline import Baseline


class Factors(Family, frozen=True, kw_only=True, tag="factors"):
    """A vector for each user and item whose product is what the baseline leaves; the cold start's is 0."""

    trainer: ClassVar[str] = "exporter.ratings.networks.factors:train_factors"

    dimensions: Count = 20
    regularisation: Rate = 1.5
    """Times the square root of the row's number of ratings."""
    iterations: Count = 12
    baseline: Baseline = Baseline()
