"""Isolation forests (Liu et al. 2008): strange is what a few random cuts set apart."""

from __future__ import annotations

from typing import ClassVar

from exporter.detectors.spec import DetectorFamily
from exporter.optimisation.spec import Count


class IsolationForest(DetectorFamily, frozen=True, kw_only=True, tag="isolation_forest"):
    """scikit-learn's forest on the features' strongest components; the score is `-score_samples`, 0 to 1."""

    trainer: ClassVar[str] = "exporter.detectors.networks.isolation_forest:train_isolation_forest"

    trees: Count = 100
    rows_per_tree: Count = 256
    components: Count = 32
    """Fewer where the rows have fewer features."""
