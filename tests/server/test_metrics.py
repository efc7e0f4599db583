"""Metrics: what is counted is what Prometheus reads, and series do not grow without end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.metrics import RETIRED_VERSIONS, SPECS, Metrics


def samples(metrics: Metrics) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = [v for n, there, v in samples(metrics) if n == name and labels.items() <= there.items()]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def test_counters_gauges_and_histograms_are_exposed() -> None:
    metrics = Metrics()
    servable = metrics.servable("digits", 3, ["cnn"])
    metrics.request("digits", "3", "ok", 0.0007)
    metrics.request("digits", "3", "degraded", 0.3)
    servable.queue_rows.value = 5
    servable.batch_rows.observe(3)
    assert value(metrics, "tutti_requests_total", ensemble="digits", version="3", outcome="ok") == 1
    assert value(metrics, "tutti_degraded_total", ensemble="digits", version="3") == 1
    assert value(metrics, "tutti_queue_rows", ensemble="digits", version="3") == 5
    assert value(metrics, "tutti_request_seconds_count", ensemble="digits") == 2
    assert value(metrics, "tutti_request_seconds_sum", ensemble="digits") == pytest.approx(0.3007)
    assert value(metrics, "tutti_request_seconds_bucket", ensemble="digits", le="0.001") == 1
    assert value(metrics, "tutti_request_seconds_bucket", ensemble="digits", le="+Inf") == 2
    assert value(metrics, "tutti_batch_rows_bucket", ensemble="digits", le="4.0") == 1
    assert value(metrics, "tutti_batch_rows_bucket", ensemble="digits", le="1.0") == 0


def test_a_version_that_nobody_asked_has_no_lines_and_one_that_was_asked_has_its_zeros() -> None:
    metrics = Metrics()
    metrics.servable("idle", 1, ["cnn"])
    metrics.servable("asked", 1, ["cnn"])
    metrics.request("asked", "1", "ok", 0.1)
    named = {(name, labels.get("ensemble")) for name, labels, _ in samples(metrics)}
    assert not any(ensemble == "idle" for _, ensemble in named)
    assert {("tutti_degraded_total", "asked"), ("tutti_member_disagreement_total", "asked")} <= named


def test_phases_of_swaps_are_a_count_and_a_sum() -> None:
    metrics = Metrics()
    metrics.histogram("tutti_swap_seconds", "digits", "load").observe(0.25)
    metrics.histogram("tutti_swap_seconds", "digits", "load").observe(0.5)
    assert value(metrics, "tutti_swap_seconds_count", ensemble="digits", phase="load") == 2
    assert value(metrics, "tutti_swap_seconds_sum", ensemble="digits", phase="load") == 0.75
    assert not any(name == "tutti_swap_seconds_bucket" for name, _, _ in samples(metrics))


def test_series_of_an_ensemble_that_is_gone_go() -> None:
    metrics = Metrics()
    for name in ("gone", "kept"):
        metrics.servable(name, 1, ["cnn"])
        metrics.request(name, "1", "ok", 0.1)
        metrics.cell("tutti_serving_version", name).value = 1
    metrics.forget("gone")
    assert {labels.get("ensemble") for _, labels, _ in samples(metrics)} == {"kept", None}
    metrics.request("gone", "1", "unknown", 0.0)
    assert value(metrics, "tutti_requests_total", ensemble="", outcome="unknown") == 1


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics()
    metrics.histogram("tutti_request_seconds", "a", "1").observe(0.001)
    assert value(metrics, "tutti_request_seconds_bucket", le="0.001") == 1
    assert value(metrics, "tutti_request_seconds_bucket", le="0.0005") == 0


def test_names_that_are_not_served_make_no_series() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.request(f"name-{number}", "1", "unknown", 0.0)
    assert value(metrics, "tutti_requests_total", ensemble="", outcome="unknown") == 1000


def test_series_of_retired_versions_go_but_the_last_few() -> None:
    metrics = Metrics()
    for version in range(1, 101):
        metrics.servable("digits", version, ["cnn"])
        metrics.request("digits", str(version), "ok", 0.1)
        metrics.retire("digits", version - 1) if version > 1 else None
    versions = {labels["version"] for name, labels, _ in samples(metrics) if name == "tutti_requests_total"}
    assert versions == {str(version) for version in range(100 - RETIRED_VERSIONS, 101)}


def test_a_version_that_comes_back_goes_on_counting() -> None:
    metrics = Metrics()
    metrics.servable("digits", 1, [])
    metrics.request("digits", "1", "ok", 0.1)
    metrics.retire("digits", 1)
    metrics.servable("digits", 1, [])
    metrics.request("digits", "1", "ok", 0.1)
    assert value(metrics, "tutti_requests_total", ensemble="digits", outcome="ok") == 2


def test_sources_are_read_at_each_scrape() -> None:
    metrics = Metrics()
    readings = iter([1.0, 2.0])
    metrics.source("tutti_sessions", lambda: next(readings))
    assert value(metrics, "tutti_sessions") == 1.0
    assert value(metrics, "tutti_sessions") == 2.0


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_names_follow_the_conventions(spec: object) -> None:
    name, kind = spec.name, spec.kind  # type: ignore[attr-defined]  # a Spec; pytest's ids want it loose
    assert name.startswith("tutti_")
    assert name.endswith("_total") == (kind == "counter")


def test_process_metrics_are_there() -> None:
    names = {name for name, _, _ in samples(Metrics())}
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"} <= names
