"""Quantiles are observed values, found by nearest rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.reporting.latency import latency_of_seconds


def test_quantiles_of_known_latencies() -> None:
    found = latency_of_seconds(np.arange(1, 1001) / 1000)  # 1 ms … 1000 ms
    assert found.count == 1000
    assert (found.p50_ms, found.p90_ms, found.p99_ms, found.p999_ms, found.max_ms) == (500, 900, 990, 999, 1000)
    assert found.mean_ms == pytest.approx(500.5)


def test_of_nothing_nothing_is_said() -> None:
    found = latency_of_seconds(np.array([], dtype=np.float64))
    assert found.count == 0
    assert {found.mean_ms, found.p50_ms, found.p999_ms, found.max_ms} == {None}


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=300))
def test_every_quantile_was_observed_and_covers_its_share(seconds: list[float]) -> None:
    values = np.array(seconds)
    found = latency_of_seconds(values)
    for share, quantile in ((0.5, found.p50_ms), (0.9, found.p90_ms), (0.99, found.p99_ms), (0.999, found.p999_ms)):
        assert quantile is not None
        assert quantile in values * 1e3
        assert (values * 1e3 <= quantile).mean() >= share - 1e-12
        assert (values * 1e3 < quantile).mean() <= share + 1e-12
