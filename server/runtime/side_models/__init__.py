"""Models that never vote: detectors and extras."""
