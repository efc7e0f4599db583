"""The table that people read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from loadtest.peers.comparison import Bare, Comparison, Measurement, Skipped, results
from loadtest.peers.machine import Machine
from loadtest.peers.table import markdown, number
from tests.loadtest.peers.samples import measurement

MACHINE = Machine(
    cpu="Abacus", cores=2, kernel="6.1", python="3.11.2", onnxruntime="1.31.1", date="2026-01-02 03:04 UTC", load=0.25
)


def _comparison(measured: Sequence[Measurement], bare: Sequence[Bare] = (), skipped: Sequence[Skipped] = ()) -> str:
    return markdown(
        Comparison(
            machine=MACHINE, load_after=1.5, seconds=3, rounds=1, files="members", versions={},
            results=results(measured), bare=list(bare), skipped=list(skipped), measurements=list(measured),
        )
    )  # fmt: skip


def test_the_machine_and_its_load_stand_above_the_figures() -> None:
    text = _comparison([measurement("tutti", 1, 1000)])
    assert text.startswith("Abacus, 2 cores, Linux 6.1, Python 3.11.2, onnxruntime 1.31.1, 2026-01-02 03:04 UTC, load")
    assert "load average before 0.25\n(after the sitting 1.50)" in text
    assert "Other programs used 10% of the machine" in text


def test_servers_stand_fastest_first_and_ceilings_behind_them() -> None:
    measured = [
        measurement("slow", 1, 10), measurement("constant", 1, 9000, kind="ceiling"), measurement("tutti", 1, 900),
    ]  # fmt: skip
    rows = [line for line in _comparison(measured).splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| server", "| ---", "| Tutti", "| Slow", "| Constant"]


def test_a_cell_says_rate_latency_ratio_and_errors() -> None:
    text = _comparison([measurement("tutti", 1, 1000), measurement("mosec", 1, 400, p99_us=8200, errors=7)])
    assert "| Mosec | 400 · 4.10 / 8.20 · 2.50× (7 errors) | 1,250 |" in text
    assert "| Tutti | 1,000 · 0.5 / 1.00 | 500 |" in text


def test_a_cell_that_was_not_measured_is_a_dash() -> None:
    measured = [measurement("tutti", 1, 10, connections=1), measurement("mosec", 1, 20, connections=8)]
    text = _comparison(measured)
    assert "| Mosec | – | 20.0" in text
    assert "| 1 connection | 8 connections | server's CPU µs a request at 8 |" in text


def test_the_bare_runtimes_best_setting_is_named() -> None:
    bare = [
        Bare(ensemble="tiny", plan="sequential", rows=1, lanes=1, rows_per_s=9.0, p50_ms=0.05),
        Bare(ensemble="tiny", plan="merged", rows=1, lanes=1, rows_per_s=10.0, p50_ms=0.013),
        Bare(ensemble="tiny", plan="merged", rows=256, lanes=2, rows_per_s=550_000.0),
    ]
    expected = "| tiny | 550,000 | merged, 256 rows a batch, 2 lanes | 0.013 (merged) |"
    assert expected in _comparison([measurement("tutti", 1, 10)], bare)


def test_a_skipped_server_is_listed_with_its_reason() -> None:
    skipped = [Skipped(peer="ray", ensemble="mid", reason="did not answer within 180 s")]
    assert "- ray, mid: did not answer within 180 s" in _comparison([measurement("tutti", 1, 10)], skipped=skipped)


@pytest.mark.parametrize(
    ("value", "text"),
    [(41234.0, "41,200"), (1234.0, "1,230"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.0123")],
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert number(value) == text
