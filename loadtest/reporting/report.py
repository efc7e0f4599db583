"""The report: the figures of a run as one struct, whose JSON is stable.

Durations of requests are in milliseconds (`_ms`) and count from the scheduled time, so that waiting which a
stalled server causes is seen by every request that fell into the stall. Positions in the run are in seconds
(`_s`) since the end of the warm-up. Quantiles are observed values (nearest rank), None where there are none.
"""

from __future__ import annotations

import msgspec
import numpy as np

from loadtest.load.outcome import ANSWERED, Outcome
from loadtest.load.record import Floats, Sample
from loadtest.load.runner import Run, Span
from loadtest.load.target import OURS
from loadtest.reporting.latency import Latency, latency_of, latency_of_seconds
from loadtest.reporting.swap_report import Regression, SwapReport, SwapsReport, regressions, report_swaps

FORMAT = 1

SATURATED_CPU_SHARE = 0.9
"""Above this the generator's own processor time is what limits the throughput."""
ENOUGH_FOR_P99 = 1000
"""Answers of a bin below which its 99th percentile is not told: 10 are above it then."""
WIDTHS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Of the timeline's bins."""
SATURATED_LAG_SHARE = 0.25
"""A lag p99 above this share of the latency p99, and above 1 ms, is too large a part of what is reported."""


class OutcomeReport(msgspec.Struct, frozen=True):
    """One outcome class: how many requests, their share of all, and how long they took."""

    count: int
    share: float
    latency: Latency


class SpanReport(msgspec.Struct, frozen=True):
    """One phase of the run; `offered_rps` is None in a closed loop."""

    name: str
    start_s: float
    end_s: float
    offered_rps: float | None
    answered_rps: float
    latency: Latency
    outcomes: dict[str, int]


class Client(msgspec.Struct, frozen=True):
    """Whether the generator kept up: `lag` is from a request's scheduled time until it was taken in hand."""

    cpu_share: float
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    saturated: bool
    verdict: str


class Bin(msgspec.Struct, frozen=True):
    """A slice of the run, for plots: requests scheduled in it."""

    start_s: float
    answered: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    """None below 1,000 answers: of so few the 99th percentile is next to the maximum."""
    max_ms: float | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole load test. Keys are only ever added."""

    format: int = FORMAT
    url: str
    server: str = OURS
    """What the server calls itself."""
    ensemble: str
    scenario: str
    loop: str
    """`open` or `closed`."""
    arrivals: str | None
    """`poisson` or `constant`; None in a closed loop."""
    offered_rps: float | None
    """Rate of the last phase; None in a closed loop."""
    connections: int
    """Most connections allowed."""
    protocol: str
    rows_per_request: int
    seed: int
    warmup_s: float
    duration_s: float
    requests: int
    answered_rps: float
    answered_rows_per_s: float
    latency: Latency
    """Of answered requests: ok and degraded."""
    outcomes: dict[str, OutcomeReport]
    versions: dict[str, int]
    """Answers by version; the key is the version, `unknown` where the answer names none."""
    phases: list[SpanReport]
    swaps: list[SwapReport]
    swaps_together: SwapsReport | None
    regressions: list[Regression]
    client: Client
    timeline: list[Bin]
    examples: dict[str, str]
    """One message for each failing outcome: the server's words, or the connection's."""
    problems: list[str]
    passed: bool
    """Whether `problems` is empty: the exit status."""


def build(run: Run) -> Report:
    """The report of a run."""
    plan, options = run.plan, run.plan.options
    start, end = run.spans[0].start, run.spans[-1].end
    measured = run.sample.between(start, end)
    swaps, together = report_swaps(run.sample, run.published)
    back = regressions(run.sample)
    elapsed = _elapsed(measured, start, end)
    answered = int(measured.answered.sum())
    client = _client(run, measured)
    problems = _problems(run, measured, swaps, back)
    if client.saturated:
        problems.append(client.verdict)
    return Report(
        url=run.url,
        server=run.server,
        ensemble=run.ensemble,
        scenario=options.scenario,
        loop="open" if plan.open_loop else "closed",
        arrivals=options.process if plan.open_loop else None,
        offered_rps=run.spans[-1].rate,
        connections=plan.connections,
        protocol=options.protocol,
        rows_per_request=options.rows,
        seed=options.seed,
        warmup_s=options.warmup_s,
        duration_s=end - start,
        requests=len(measured),
        answered_rps=answered / elapsed,
        answered_rows_per_s=answered * options.rows / elapsed,
        latency=latency_of(measured.where(measured.answered)),
        outcomes=_outcomes(measured),
        versions=_versions(measured),
        phases=[_span(span, measured) for span in run.spans],
        swaps=swaps,
        swaps_together=together,
        regressions=back,
        client=client,
        timeline=_timeline(measured, start, end),
        examples={outcome.label: text for outcome, text in run.examples.items()},
        problems=problems,
        passed=not problems,
    )


def _elapsed(sample: Sample, start: float, end: float) -> float:
    """Until the last answer: a backlog that is still being worked off is no throughput of the time before."""
    last = float(sample.done.max(initial=end))
    return max(last, end) - start


def _outcomes(sample: Sample) -> dict[str, OutcomeReport]:
    found = {}
    for outcome in Outcome:
        of_it = sample.where(sample.outcome == outcome)
        if len(of_it):
            found[outcome.label] = OutcomeReport(len(of_it), len(of_it) / len(sample), latency_of(of_it))
    return found


def _versions(sample: Sample) -> dict[str, int]:
    versions, counts = np.unique(sample.version[sample.answered], return_counts=True)
    pairs = zip(versions.tolist(), counts.tolist(), strict=True)
    return {str(version) if version else "unknown": count for version, count in pairs}


def _span(span: Span, measured: Sample) -> SpanReport:
    sample = measured.between(span.start, span.end)
    return SpanReport(
        name=span.name,
        start_s=span.start,
        end_s=span.end,
        offered_rps=span.rate,
        answered_rps=int(sample.answered.sum()) / _elapsed(sample, span.start, span.end),
        latency=latency_of(sample.where(sample.answered)),
        outcomes={outcome.label: n for outcome in Outcome if (n := int((sample.outcome == outcome).sum()))},
    )


def _client(run: Run, sample: Sample) -> Client:
    lag = latency_of_seconds(sample.started - sample.scheduled)
    latency = latency_of(sample.where(sample.answered))
    lag_p99, p99 = lag.p99_ms or 0.0, latency.p99_ms or 0.0
    reasons = []
    if run.cpu_share > SATURATED_CPU_SHARE:
        reasons.append(f"it used {run.cpu_share:.0%} of a core")
    if lag_p99 > max(1.0, SATURATED_LAG_SHARE * p99):
        reasons.append(f"1% of the requests went out more than {lag_p99:.1f} ms late")
    verdict = "the generator kept up"
    if reasons:
        verdict = f"the generator was saturated ({', '.join(reasons)}): these are its figures, not the server's"
    return Client(run.cpu_share, lag.p50_ms, lag.p99_ms, bool(reasons), verdict)


def _timeline(sample: Sample, start: float, end: float) -> list[Bin]:
    """At most 60 bins of one width; wider ones where that gives each enough answers and leaves 20."""
    fitting = [width for width in WIDTHS_S if (end - start) / width <= 60] or [WIDTHS_S[-1]]
    finest = _bins(sample, start, end, fitting[0])
    for width in fitting:
        if (end - start) / width < 20:
            break
        bins = _bins(sample, start, end, width)
        if all(one.p99_ms is not None for one in bins):
            return bins
    return finest


def _bins(sample: Sample, start: float, end: float, width: float) -> list[Bin]:
    """A rest of less than a width belongs to the last bin."""
    count = max(1, int((end - start) / width + 1e-9))
    edges: Floats = start + np.arange(count, dtype=np.float64) * width
    bins = []
    for edge, until in zip(edges.tolist(), [*edges[1:].tolist(), end], strict=True):
        inside = sample.between(edge, until)
        latency = latency_of(inside.where(inside.answered))
        p99 = latency.p99_ms if latency.count >= ENOUGH_FOR_P99 else None
        bins.append(Bin(edge, latency.count, len(inside) - latency.count, latency.p50_ms, p99, latency.max_ms))
    return bins


def _problems(run: Run, measured: Sample, swaps: list[SwapReport], back: list[Regression]) -> list[str]:
    found = []
    allowed = {*ANSWERED}
    if run.plan.options.scenario == "overload":  # refusing is what the server is asked to do there
        allowed |= {Outcome.REFUSED, Outcome.RATE_LIMITED}
    for when, sample in (("", measured), (" during the warm-up", run.sample.between(-np.inf, 0.0))):
        for outcome in Outcome:
            count = int((sample.outcome == outcome).sum())
            if count and outcome not in allowed:
                example = run.examples.get(outcome, "")
                found.append(f"{count} of {len(sample)} requests{when}: {outcome.label} ({example})")
    if not measured.answered.any():
        found.append("no request was answered")
    if len(swaps) < run.plan.swaps:
        found.append(f"only {len(swaps)} of {run.plan.swaps} versions were published")
    silent = [str(swap.version or "unknown") for swap in swaps if swap.first_answer_s is None]
    if silent:
        found.append(f"published, but never answered: version {', '.join(silent)}")
    if back:
        found.append(f"{len(back)} answers of an older version after a newer one on the same connection")
    return found
