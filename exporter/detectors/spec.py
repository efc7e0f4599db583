"""What all detectors have in common: one column, the larger the stranger, whatever the ensemble predicts."""

from __future__ import annotations

from exporter.members.base import Family


class DetectorFamily(Family, frozen=True, kw_only=True, tag="detector"):
    """A detector of a recipe. Trained like a member on the fit rows, without looking at their targets."""
