"""The benchmark's results as Markdown, which is also how they read in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadtest.bench.beside import Beside
from loadtest.bench.checkouts import Checkouts
from loadtest.bench.curves import Curve, Curves
from loadtest.bench.many_rows import ManyRows
from loadtest.bench.overload import Overload
from loadtest.bench.swap import Swap
from loadtest.bench.training import TrainingBench
from loadtest.peers.table import number


def curves_text(curves: Curves) -> str:
    """One table a curve, its exponents above it."""
    lines = [curves.machine.line(), f"(after it {curves.load_after:.2f}). wrk, {curves.seconds} s a figure."]
    for curve in curves.curves:
        lines += ["", f"### {curve.name}: {curve.what}", "", _exponents(curve), "", *_points(curve)]
    return "\n".join(lines) + "\n"


def _exponents(curve: Curve) -> str:
    time, latency = (_or_dash(value) for value in (curve.time_exponent, curve.latency_exponent))
    return f"Seconds per request, busy, grow with exponent {time}; median latency alone with {latency}."


def _points(curve: Curve) -> Iterator[str]:
    yield f"| {curve.name} | requests/s busy | p99 ms busy | p50 ms alone | memory MiB | start s | others |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for point in curve.points:
        errors = f" ({point.errors:,} errors)" if point.errors else ""
        cells = [number(value) for value in (point.busy_p99_ms, point.alone_p50_ms, point.rss_mib, point.start_s)]
        rate = number(point.busy_rps) + errors
        yield f"| {point.size:,} | {rate} | {' | '.join(cells)} | {point.others:.0%} |"


def overload_text(result: Overload) -> str:
    """The overload in a few lines."""
    share = result.probes_with_retry_after / result.probes_refused if result.probes_refused else 0.0
    outcomes = ", ".join(f"{name} {count:,}" for name, count in result.outcomes.items())
    return "\n".join(
        [
            result.machine.line(),
            f"(after it {result.load_after:.2f}). Ensemble {result.ensemble}, binary, one row a request.",
            "",
            f"capacity          {number(result.capacity_rps)} requests/s (closed loop)",
            f"offered           {number(result.offered_rps)} requests/s (open loop)",
            f"goodput           {number(result.goodput_rps)} requests/s, {result.goodput_ratio:.0%} of the capacity",
            f"accepted p50/p99  {_ms(result.accepted_p50_ms)} / {_ms(result.accepted_p99_ms)}",
            f"refused p50/p99   {_ms(result.refused_p50_ms)} / {_ms(result.refused_p99_ms)} of {result.refused:,}",
            f"Retry-After       on {share:.0%} of {result.probes_refused} refusals looked at",
            f"outcomes          {outcomes}",
            f"generator         {result.generator}",
            "",
        ]
    )


def swaps_text(results: Sequence[Swap]) -> str:
    """One row for each kind of version."""
    lines = []
    for result in results[:1]:
        lines += [
            result.machine.line(),
            f"(after it {results[-1].load_after:.2f}). Ensemble {result.ensemble}, binary.",
        ]
    lines += [
        "",
        "| new version with | swaps | requests/s (of capacity) | p99 ms before | loading | swap second | after | "
        "swap second ÷ before | publish → first answer ms, median / max | failed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_swap(result) for result in results]
    notes = [f"{result.kind}: {note}" for result in results for note in (result.generator, *result.problems)]
    return "\n".join([*lines, "", *notes, ""])


def _swap(result: Swap) -> str:
    swaps = result.swaps
    windows = (swaps.before, swaps.loading, swaps.swap_second, swaps.after)
    took = (swaps.publish_to_first_answer_median_ms, swaps.publish_to_first_answer_max_ms)
    cells = [
        result.kind,
        str(swaps.swaps),
        f"{number(result.offered_rps)} ({number(result.capacity_rps)})",
        *(_or_dash(window.p99_ms) for window in windows),
        _or_dash(swaps.p99_ratio),
        " / ".join(_or_dash(value) for value in took),
        str(result.failures),
    ]
    return f"| {' | '.join(cells)} |"


def _ms(value: float | None) -> str:
    return f"{_or_dash(value)} ms"


def _or_dash(value: float | None) -> str:
    if value is None:
        return "–"
    return number(value) if value >= 0 else f"-{number(-value)}"


def rows_text(result: ManyRows) -> str:
    """Many rows a request beside onnxruntime alone."""
    return "\n".join(
        [
            f"{result.machine.line()} (after it {result.load_after:.2f}).",
            f"Ensemble {result.ensemble}, binary, {result.rows} rows a request; cores for either: {result.cores}.",
            "",
            f"served            {number(result.served_rows_per_s)} rows/s, {result.ratio:.2f}× of onnxruntime alone",
            f"onnxruntime       {number(result.bare_rows_per_s)} rows/s ({result.bare_with})",
            "",
        ]
    )


def beside_text(result: Beside) -> str:
    """The latency of an ensemble with and without another beside it."""
    busy = f", {result.busy} connections to it ({number(result.busy_rps)} requests/s)" if result.busy else ""
    return "\n".join(
        [
            f"{result.machine.line()} (after it {result.load_after:.2f}).",
            "",
            f"{result.first} alone        p50 {number(result.alone_p50_ms)} ms, "
            f"p99 {number(result.alone_p99_ms)} ms at one connection",
            f"with {result.second} beside it  p50 {number(result.beside_p50_ms)} ms, {result.ratio:.2f}×; "
            f"p99 {number(result.beside_p99_ms)} ms, {result.p99_ratio:.2f}×{busy}",
            "",
        ]
    )


def checkouts_text(result: Checkouts) -> str:
    """One row for each kind of load."""
    lines = [
        result.machine.line(),
        f"(after it {result.load_after:.2f}). Ensemble {result.ensemble}, {result.rounds} interleaved rounds, medians.",
        "",
        "| load | before requests/s | now | now ÷ before | before CPU µs a request | now | now ÷ before "
        "| before p99 ms | now |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in result.pairs:
        cells = [number(value) for value in (one.before_rps, one.now_rps)]
        late = [number(value) for value in (one.before_p99_ms, one.now_p99_ms)]
        load = f"{one.protocol}, {one.connections} connection{'s' * (one.connections != 1)}"
        used = f"{one.before_cpu_us:.1f} | {one.now_cpu_us:.1f} | {one.cpu_ratio:.3f}"
        lines.append(f"| {load} | {' | '.join(cells)} | {one.ratio:.3f} | {used} | {' | '.join(late)} |")
    return "\n".join(lines) + "\n"


def training_text(result: TrainingBench) -> str:
    """A table of the engines, and one of workers that there are not."""
    lines = [
        result.machine.line(),
        f"(after it {result.load_after:.2f}). {result.recipe}, preset {result.preset}: {result.tasks} trainings, "
        f"{result.rounds} interleaved rounds, medians.",
        "",
        f"| engine | 1 worker s | {result.workers} workers s | speed-up (lowest to highest) | processor s of all |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in result.speedups:
        spread = f"{one.ratio:.2f} ({one.lowest:.2f} to {one.highest:.2f})"
        lines.append(
            f"| {one.engine} | {number(one.one_s)} | {number(one.several_s)} | {spread} | {number(one.processor_s)} |"
        )
    lines += [
        "",
        f"Simulated from these trainings' processor seconds by list scheduling, seeds: {result.seeds}.",
        "",
        "| workers | recipe's order s | longest first s | bound s | speed-up, longest first |",
        "| --- | --- | --- | --- | --- |",
    ]
    alone = result.schedules[0].longest_first_s
    for each in result.schedules:
        cells = [number(value) for value in (each.recipe_order_s, each.longest_first_s, each.bound_s)]
        lines.append(f"| {each.workers} | {' | '.join(cells)} | {alone / each.longest_first_s:.1f} |")
    return "\n".join(lines) + "\n"
