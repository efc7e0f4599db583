"""Quantiles of how long requests took."""

from __future__ import annotations

import msgspec
import numpy as np

from loadtest.load.record import Floats, Sample


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds; None where `count` is 0. Quantiles are observed values (nearest rank), not interpolated."""

    count: int
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None


def latency_of(sample: Sample) -> Latency:
    """From the scheduled time to the answer, over all requests of the sample."""
    return latency_of_seconds(sample.latency)


def latency_of_seconds(seconds: Floats) -> Latency:
    """The same of durations in seconds."""
    if not len(seconds):
        return Latency(0, None, None, None, None, None, None)
    values = np.quantile(seconds, (0.5, 0.9, 0.99, 0.999), method="inverted_cdf") * 1e3
    p50, p90, p99, p999 = (float(value) for value in values)
    return Latency(len(seconds), float(seconds.mean()) * 1e3, p50, p90, p99, p999, float(seconds.max()) * 1e3)
