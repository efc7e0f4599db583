"""The text of `/metrics`: what it costs, that it is whole in every format, and that it stops nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import thread_time
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain_families

from server.http.exposition import exposition
from server.metrics import Metrics

ENSEMBLES, MEMBERS = 300, ("cnn", "rnn", "rf")
IDLE_LINES = 15_000
"""What 300 ensembles of three members that nobody asks may cost a scrape."""
PAUSE_S = 0.025
"""How long a request may wait for a scrape beside it; here of processor time, whatever else the machine does."""
OPEN = "application/openmetrics-text; version=1.0.0"


def many(*, asked: bool) -> Metrics:
    """Metrics as after a start with many ensembles, each asked once or not at all."""
    metrics = Metrics()
    for number in range(ENSEMBLES):
        name = f"ensemble-{number}"
        servable = metrics.servable(name, 1, MEMBERS)
        metrics.cell("tutti_serving_version", name).value = 1
        metrics.cell("tutti_swap_total", name, "ok").value += 1
        for phase in ("verify", "load", "golden", "measure", "activate"):
            metrics.histogram("tutti_swap_seconds", name, phase).observe(0.01)
        if asked:
            metrics.request(name, "1", "ok", 0.001)
            servable.compute.observe(0.001)
            for histogram in servable.member.values():
                histogram.observe(0.001)
    return metrics


def text_of(metrics: Metrics, accept: str = "") -> str:
    return asyncio.run(exposition(metrics, accept))[0].decode()


def test_ensembles_that_nobody_asks_cost_few_lines() -> None:
    lines = text_of(many(asked=False)).count("\n")
    assert 10 * ENSEMBLES < lines <= IDLE_LINES


@pytest.mark.parametrize("accept", ["", OPEN])
def test_the_slices_are_one_text_of_the_format(accept: str) -> None:
    metrics = many(asked=True)
    text = text_of(metrics, accept)
    read: Any = openmetrics.text_string_to_metric_families if accept else plain_families
    families = list(read(text))
    heads = Counter(line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE"))
    assert set(heads.values()) == {1}
    found = {s.labels["ensemble"]: s.value for f in families for s in f.samples if s.name == "tutti_requests_total"}
    assert found == {f"ensemble-{number}": 1.0 for number in range(ENSEMBLES)}
    buckets = [s for f in families for s in f.samples if s.name == "tutti_member_seconds_bucket"]
    assert len(buckets) == ENSEMBLES * len(MEMBERS) * 8
    plain = {line for line in text.splitlines() if line.startswith("tutti_")}
    if not accept:
        assert plain == {line for line in metrics.render().decode().splitlines() if line.startswith("tutti_")}


def test_the_loop_serves_others_while_a_scrape_is_written() -> None:
    metrics = many(asked=True)

    async def both() -> tuple[list[float], int]:
        waits = []
        scrape = asyncio.create_task(exposition(metrics, ""))
        while not scrape.done():
            began = thread_time()
            await asyncio.sleep(0)
            waits.append(thread_time() - began)
        return waits, len(scrape.result()[0])

    waits, size = asyncio.run(both())
    assert size > 1_000_000
    assert len(waits) > 300
    assert max(waits) < PAUSE_S
