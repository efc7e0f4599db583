"""The report of a record in which every request is known; its text and its picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from loadtest import Options, Report, Run, build, plan
from loadtest.load.outcome import Outcome
from loadtest.load.record import Record, Sample
from loadtest.load.runner import Span
from loadtest.reporting.picture import draw, figure_of
from loadtest.reporting.text import as_text
from loadtest.swaps.swaps import Published
from tests.loadtest.samples import sample

REFUSED = float(Outcome.REFUSED)


def run_of(found: Sample, seconds: float = 10.0, published: tuple[Published, ...] = (), cpu_share: float = 0.1) -> Run:
    """A steady run with this record."""
    options = Options(url="http://127.0.0.1:8000", duration_s=seconds, rate=100.0)
    if published:
        options = replace(options, scenario="swap", swap_command="true", swaps=len(published))
    chosen = plan(options)
    return Run(
        plan=chosen,
        url="http://127.0.0.1:8000",
        ensemble="digits",
        sample=found,
        spans=[Span(chosen.options.scenario, 0.0, seconds, 100.0)],
        published=list(published),
        examples={Outcome.REFUSED: "503: queue is full"},
        cpu_share=cpu_share,
    )


def hundred_a_second(latency_ms: float = 5.0) -> list[tuple[float, ...]]:
    return [(number / 100, latency_ms / 1e3) for number in range(1000)]


def test_throughput_counts_answers_over_the_time_they_took() -> None:
    report = build(run_of(sample(*hundred_a_second())))
    assert (report.requests, report.latency.count) == (1000, 1000)
    assert report.answered_rps == pytest.approx(100)
    backlog = build(run_of(sample(*hundred_a_second(10_000))))  # the last answer comes at 20 s
    assert backlog.answered_rps == pytest.approx(50, rel=0.01)


def test_refused_requests_are_counted_apart_and_do_not_flatter_the_latency() -> None:
    rows = hundred_a_second() + [(number / 100, 0.0001, 0, 0, REFUSED) for number in range(1000)]
    report = build(run_of(sample(*rows)))
    assert report.outcomes["refused"].count == 1000
    assert report.outcomes["refused"].share == 0.5
    assert report.outcomes["refused"].latency.p50_ms == pytest.approx(0.1)
    assert report.latency.p50_ms == pytest.approx(5)
    assert report.problems == ["1000 of 2000 requests: refused (503: queue is full)"]


def test_each_stretch_of_time_has_its_own_quantiles() -> None:
    rows = [(number / 100, 0.002 if number < 500 else 0.02) for number in range(1000)]
    timeline = build(run_of(sample(*rows))).timeline
    assert [one.start_s for one in timeline] == [pytest.approx(0.25 * number) for number in range(40)]
    assert {round(one.max_ms or 0) for one in timeline[:20]} == {2}
    assert {round(one.max_ms or 0) for one in timeline[20:]} == {20}
    assert sum(one.answered for one in timeline) == 1000


def test_a_stretch_has_a_99th_percentile_only_with_a_thousand_answers() -> None:
    few = build(run_of(sample(*hundred_a_second()))).timeline
    assert len(few) == 40
    assert {one.p99_ms for one in few} == {None}
    many = build(run_of(sample(*[(number / 5000, 0.005) for number in range(50_000)]))).timeline
    assert [one.answered for one in many] == [1250] * 40
    assert {round(one.p99_ms or 0) for one in many} == {5}
    wider = build(run_of(sample(*[(number / 2500, 0.005) for number in range(25_000)]))).timeline
    assert [one.answered for one in wider] == [1250] * 20, "bins are widened until each has enough"


def test_a_rest_shorter_than_a_bin_belongs_to_the_last_one() -> None:
    timeline = build(run_of(sample(*hundred_a_second()), seconds=10.05)).timeline
    assert len(timeline) == 40
    assert sum(one.answered for one in timeline) == 1000


def test_a_generator_that_kept_up_says_so() -> None:
    client = build(run_of(sample(*hundred_a_second()))).client
    assert not client.saturated
    assert client.lag_p99_ms == 0


def test_a_generator_without_processor_time_left_says_that_the_figures_are_its_own() -> None:
    client = build(run_of(sample(*hundred_a_second()), cpu_share=0.97)).client
    assert client.saturated
    assert "97% of a core" in client.verdict


def test_a_run_whose_generator_was_saturated_has_not_passed() -> None:
    report = build(run_of(sample(*hundred_a_second()), cpu_share=0.97))
    assert not report.passed
    assert report.problems == [report.client.verdict]
    assert "\nFAILED: the generator was saturated" in as_text(report)


def test_a_generator_that_sent_late_says_that_the_figures_are_its_own() -> None:
    record = Record()
    for number in range(1000):
        due = number / 100
        record.add(due, due + 0.02, due + 0.025, Outcome.OK, version=1, connection=0)
    client = build(run_of(record.sample(0.0))).client
    assert client.saturated
    assert client.lag_p50_ms == pytest.approx(20)
    assert "late" in client.verdict


def test_a_run_without_an_answer_is_a_report_too() -> None:
    report = build(run_of(sample(*[(0.1, 0.001, 0, 0, REFUSED)])))
    assert report.latency.p50_ms is None
    assert "no request was answered" in report.problems
    assert "—" in as_text(report)
    assert build(run_of(Record().sample(0.0))).requests == 0


def test_the_json_reads_back_as_the_same_report() -> None:
    report = build(swap_run())
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_the_keys_of_the_json_are_those_that_scripts_rely_on() -> None:
    found = msgspec.to_builtins(build(swap_run()))
    assert {
        "format",
        "passed",
        "problems",
        "requests",
        "answered_rps",
        "latency",
        "outcomes",
        "versions",
    } <= found.keys()
    assert found["latency"].keys() == {"count", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"}
    assert {"version", "published_s", "first_answer_s", "p99_ratio", "failures"} <= found["swaps"][0].keys()
    assert found["format"] == 1


def test_the_text_says_what_matters_and_fits_a_terminal() -> None:
    text = as_text(build(swap_run()))
    assert "p99.9" in text
    assert "answers by version  1: 500, 2: 500" in text
    assert "1.00×" in text
    assert text.endswith("passed\n")
    assert max(map(len, text.splitlines()[3:])) <= 120


def test_the_text_names_each_failure() -> None:
    report = build(run_of(sample(*hundred_a_second(), (0.5, 0.001, 0, 0, REFUSED))))
    assert "FAILED: 1 of 1001 requests: refused (503: queue is full)" in as_text(report)


def test_a_server_of_another_make_is_named() -> None:
    run = run_of(sample(*hundred_a_second()))
    assert "calls itself" not in as_text(build(run))
    assert "the server calls itself 'triton', not tutti\n" in as_text(build(replace(run, server="triton")))


def swap_run() -> Run:
    rows = [(number / 100, 0.005, 1 if number < 500 else 2) for number in range(1000)]
    return run_of(sample(*rows), published=(Published(4.5, 4.9, 2, 1),))


@pytest.mark.parametrize("rows", [0, 1, 1000, 50_000])
def test_a_picture_is_drawn_of_few_and_of_many_requests(tmp_path: Path, rows: int) -> None:
    times = np.linspace(0, 9.99, rows).tolist()
    found = sample(*((at, 0.005, 1, 0, REFUSED if number % 7 == 0 else 0.0) for number, at in enumerate(times)))
    run = run_of(found)
    draw(build(run), run.sample, tmp_path / "latency.png")
    with Image.open(tmp_path / "latency.png") as image:
        assert image.size == (1560, 845)


def test_a_picture_is_drawn_of_swaps(tmp_path: Path) -> None:
    run = swap_run()
    run.published.append(Published(9.0, 9.1, None, 2))  # never answered
    draw(build(run), run.sample, tmp_path / "latency.png")
    assert (tmp_path / "latency.png").stat().st_size > 10_000


def legend_of(run: Run) -> list[str]:
    figure = figure_of(build(run), run.sample)
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_upper_line_is_the_maximum_where_answers_are_too_few_for_a_99th_percentile() -> None:
    assert legend_of(run_of(sample(*hundred_a_second()))) == ["p50", "maximum"]
    assert legend_of(run_of(sample(*[(number / 5000, 0.005) for number in range(50_000)]))) == ["p50", "p99"]


def test_the_picture_counts_and_marks_every_failed_request() -> None:
    failed = [(0.5, 0.001, 0, 0, REFUSED), (0.6, 1e-6, 0, 0, float(Outcome.CONNECTION)), (0.7, 0.2, 0, 0, REFUSED)]
    run = run_of(sample(*hundred_a_second(), *failed))
    assert legend_of(run) == ["p50", "maximum", "2 refused", "1 connection"]
    upper = figure_of(build(run), run.sample).axes[0]
    red = [one for one in upper.collections if isinstance(one, LineCollection)]
    marked = sorted(round(float(line[0][0]), 3) for ticks in red for line in ticks.get_segments())
    assert marked == [0.5, 0.6, 0.7], "a tick for each, at the time it was to be sent"
