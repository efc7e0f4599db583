"""A report for people: plain text, aligned, no wider than a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadtest.load.target import OURS
from loadtest.reporting.latency import Latency
from loadtest.reporting.report import Report
from loadtest.reporting.swap_report import SwapsReport
from model_repo.wording import shortened

Row = Sequence[str]


def as_text(report: Report) -> str:
    """The whole report, ending in a newline."""
    parts = [_head(report), _latency(report), _outcomes(report)]
    if len(report.phases) > 1:
        parts.append(_phases(report))
    if report.swaps_together is not None:
        parts.append(_swaps(report, report.swaps_together))
    parts.append(_foot(report))
    return "\n\n".join(parts) + "\n"


def _head(report: Report) -> str:
    if report.offered_rps is None:
        loop = f"closed loop, {report.connections} connections"
    else:
        loop = f"open loop, {report.arrivals} arrivals, {report.offered_rps:,.6g} requests/s offered"
    rows = f"{report.rows_per_request} row{'s' if report.rows_per_request > 1 else ''} a request"
    stranger = "" if report.server == OURS else f"the server calls itself {shortened(report.server)}, not {OURS}\n"
    return (
        f"{report.scenario}: ensemble '{report.ensemble}' at {report.url}\n{stranger}"
        f"{loop}; {rows}, {report.protocol}; {report.duration_s:.1f} s after {report.warmup_s:g} s of warm-up; "
        f"seed {report.seed}"
    )


def _latency(report: Report) -> str:
    rows = f", {report.answered_rows_per_s:,.1f} rows/s" if report.rows_per_request > 1 else ""
    counts = f"{report.requests:,} requests, {report.answered_rps:,.1f} answered/s{rows}"
    found = report.latency
    quantiles = [found.mean_ms, found.p50_ms, found.p90_ms, found.p99_ms, found.p999_ms, found.max_ms]
    head = ["latency", "mean", "p50", "p90", "p99", "p99.9", "max"]
    since = "scheduled" if report.loop == "open" else "sent"
    return f"{counts}\n{_table([head, ['ms', *map(_ms, quantiles)]])}\n(answered requests, from when each was {since})"


def _outcomes(report: Report) -> str:
    rows: list[Row] = [["outcome", "requests", "share", "p50 ms", "p99 ms", "max ms"]]
    for name, outcome in report.outcomes.items():
        found = outcome.latency
        figures = [_ms(found.p50_ms), _ms(found.p99_ms), _ms(found.max_ms)]
        rows.append([name, f"{outcome.count:,}", f"{outcome.share:.2%}", *figures])
    versions = ", ".join(f"{version}: {count:,}" for version, count in report.versions.items())
    return f"{_table(rows)}\nanswers by version  {versions or 'none'}"


def _phases(report: Report) -> str:
    rows: list[Row] = [["phase", "from s", "offered/s", "answered/s", "p50 ms", "p99 ms", "other than ok"]]
    for phase in report.phases:
        others = ", ".join(f"{count:,} {name}" for name, count in phase.outcomes.items() if name != "ok")
        rows.append(
            [
                phase.name,
                f"{phase.start_s:.1f}",
                "—" if phase.offered_rps is None else f"{phase.offered_rps:,.0f}",
                f"{phase.answered_rps:,.0f}",
                _ms(phase.latency.p50_ms),
                _ms(phase.latency.p99_ms),
                others or "—",
            ]
        )
    return _table(rows)


def _swaps(report: Report, together: SwapsReport) -> str:
    head = ["version", "at s", "took ms", "before", "loading", "swap s", "after", "ratio", "failed", "overlap"]
    rows: list[Row] = [["", "", "", "p99 ms", "p99 ms", "p99 ms", "p99 ms", "", "", "ms"], head]
    for swap in report.swaps:
        windows = _p99s((swap.before, swap.loading, swap.swap_second, swap.after))
        rows.append(
            [
                "?" if swap.version is None else str(swap.version),
                f"{swap.published_s:.2f}",
                _ms(swap.publish_to_first_answer_ms),
                *windows,
                _ratio(swap.p99_ratio),
                str(swap.failures),
                _ms(swap.overlap_ms),
            ]
        )
    pooled = _p99s((together.before, together.loading, together.swap_second, together.after))
    took = _ms(together.publish_to_first_answer_median_ms)
    rows.append(["all", "", took, *pooled, _ratio(together.p99_ratio), str(together.failures), ""])
    return (
        "swaps: published at, time until the first answer of the new version (all: median), latency around it\n"
        f"{_table(rows)}\n"
        f"older answer after a newer one on the same connection: {len(report.regressions)}"
    )


def _foot(report: Report) -> str:
    client = report.client
    lines = [
        f"generator: {client.cpu_share:.0%} of a core, lag p50 {_ms(client.lag_p50_ms)} ms, "
        f"p99 {_ms(client.lag_p99_ms)} ms: {client.verdict}"
    ]
    lines += [f"FAILED: {problem}" for problem in report.problems] or ["passed"]
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def _ratio(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}×"


def _p99s(windows: Iterable[Latency]) -> list[str]:
    return [_ms(window.p99_ms) for window in windows]


def _table(rows: Sequence[Row]) -> str:
    """Columns two spaces apart, the first to the left, all others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)
