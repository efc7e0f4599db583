"""A sitting as Markdown, which is also how it reads in a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

from loadtest.peers.comparison import Bare, Comparison, Result

COST_CONNECTIONS = 64
"""Where the processor time per request is shown: enough connections for batches, too few for a queue."""


def markdown(comparison: Comparison) -> str:
    """The machine's line, one table for each ensemble and protocol, onnxruntime alone, and what gave no figures."""
    lines = [
        comparison.machine.line(),
        f"(after the sitting {comparison.load_after:.2f}). wrk on the same machine, {comparison.rounds} interleaved "
        f"rounds of {comparison.seconds} s a figure, medians; one row a request; peers serve the {comparison.files}.",
        _others([one.others for one in comparison.measurements]),
        "",
        "Each cell: requests/s · p50 / p99 ms · Tutti's requests/s ÷ this one's.",
    ]
    for ensemble, protocol in dict.fromkeys((one.ensemble, one.protocol) for one in comparison.results):
        own = [one for one in comparison.results if (one.ensemble, one.protocol) == (ensemble, protocol)]
        lines += ["", f"### {ensemble}, {protocol}", "", *_table(own)]
    if comparison.bare:
        lines += ["", "### onnxruntime alone, in one process", "", *_bare(comparison.bare)]
    if comparison.skipped:
        lines += ["", "Not measured:", ""]
        lines += [f"- {one.peer}, {one.ensemble}: {one.reason}" for one in comparison.skipped]
    return "\n".join(lines) + "\n"


def _others(shares: list[float]) -> str:
    if not shares:
        return "No server was measured."
    median, most = statistics.median(shares), max(shares)
    return f"Other programs used {median:.0%} of the machine meanwhile (median of the figures; at most {most:.0%})."


def _table(results: list[Result]) -> Iterator[str]:
    connections = sorted({one.connections for one in results})
    headers = [f"{count} connection{'s' if count > 1 else ''}" for count in connections]
    shown = COST_CONNECTIONS if COST_CONNECTIONS in connections else connections[-1]
    yield _row(["server", *headers, f"server's CPU µs a request at {shown}"])
    yield _row(["---"] * (len(connections) + 2))
    cells = {(one.peer, one.connections): one for one in results}
    for peer, title in dict.fromkeys((one.peer, one.title) for one in _fastest_first(results)):
        found = (cells.get((peer, count)) for count in connections)
        costly = cells.get((peer, shown))
        cost = number(costly.cpu_us) if costly and costly.cpu_us is not None else "–"
        yield _row([title, *(_cell(one) if one else "–" for one in found), cost])


def _fastest_first(results: list[Result]) -> list[Result]:
    """Servers by their best requests/s; ceilings behind the servers."""
    best: dict[str, float] = {}
    for one in results:
        best[one.peer] = max(best.get(one.peer, 0.0), one.rps)
    return sorted(results, key=lambda one: (one.kind == "ceiling", -best[one.peer]))


def _cell(one: Result) -> str:
    text = f"{number(one.rps)} · {number(one.p50_ms)} / {number(one.p99_ms)}"
    if one.tutti_ratio is not None and one.kind != "tutti":
        text += f" · {one.tutti_ratio:.2f}×"
    if one.errors:
        text += f" ({one.errors:,} errors)"
    return text


def _bare(measured: list[Bare]) -> Iterator[str]:
    yield _row(["ensemble", "best: rows/s", "with", "one row after the other: p50 ms"])
    yield _row(["---"] * 4)
    for ensemble in dict.fromkeys(one.ensemble for one in measured):
        own = [one for one in measured if one.ensemble == ensemble]
        best = max(own, key=lambda one: one.rows_per_s)
        alone = min((one for one in own if one.p50_ms is not None), key=lambda one: one.p50_ms or 0.0)
        lanes = f"{best.lanes} lane{'s' if best.lanes > 1 else ''}"
        setting = f"{best.plan}, {best.rows} rows a batch, {lanes}"
        yield _row([ensemble, number(best.rows_per_s), setting, f"{number(alone.p50_ms or 0.0)} ({alone.plan})"])


def number(value: float) -> str:
    """Three figures, thousands with commas: 0.0123, 4.57, 89.1, 12,300."""
    if value >= 1000:
        digits = len(str(int(value)))
        return f"{round(value, 3 - digits):,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
