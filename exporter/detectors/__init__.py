"""Detectors: unsupervised models that tell how strange a row is, and never vote. What a recipe may name."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.detectors.autoencoder import Autoencoder
from exporter.detectors.isolation_forest import IsolationForest
from exporter.detectors.kmeans import KMeans
from exporter.detectors.spec import DetectorFamily

DETECTORS: Mapping[str, type[DetectorFamily]] = {
    str(family.__struct_config__.tag): family for family in (Autoencoder, KMeans, IsolationForest)
}
"""`family` in a recipe's `[detectors.NAME]` → its spec; each stands by its defaults alone and takes any domain whose
tensors are numbers, or a table's categories."""

__all__ = ["DETECTORS", "DetectorFamily"]
