"""Matrix factorisation: personal factors by alternating least squares."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Rate, Setting, Trained
from exporter.families.pairs.baseline import Baseline


class Factors(Family, frozen=True, kw_only=True, tag="factors"):
    """A vector for each user and item whose product is what the baseline leaves; the cold start's is 0."""

    dimensions: Count = 20
    regularisation: Rate = 1.5
    """Times the square root of the row's number of ratings."""
    iterations: Count = 12
    baseline: Baseline = Baseline()

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with values. Raises TrainingError where users × items is too much for tables."""
        from exporter.networks.pairs.factors import fit_factors
        from exporter.networks.pairs.regressor import finished, prepared

        ratings, baseline, left = prepared(self.baseline, rows, setting)
        return finished(baseline, fit_factors(self, ratings, left, setting.seed), setting)
