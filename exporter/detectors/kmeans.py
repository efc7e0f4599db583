"""KMeans: strange is what lies far from every centre."""

from __future__ import annotations

from typing import ClassVar

from exporter.detectors.spec import DetectorFamily
from exporter.optimisation.spec import Count


class KMeans(DetectorFamily, frozen=True, kw_only=True, tag="kmeans"):
    """Centres of the features' strongest components; the score is the distance from the nearest."""

    trainer: ClassVar[str] = "exporter.detectors.networks.kmeans:train_kmeans"

    clusters: Count = 20
    components: Count = 32
    """Fewer where the rows have fewer features."""
