"""What was measured on a device as Markdown, which is also how it reads in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from loadtest.accelerators.correctness import Agreement
from loadtest.accelerators.speed import BARE, MIXED, Figure
from loadtest.accelerators.swapping import Swaps, settling
from loadtest.peers.machine import Machine
from loadtest.peers.table import number

FORMAT = 1
MIB = 1 << 20


class Sitting(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one call measured on one provider. `load_after`: load average behind the last figure."""

    format: int = FORMAT
    machine: Machine
    load_after: float
    provider: str
    device: str
    ensemble: str
    agreements: list[Agreement]
    figures: list[Figure]
    swaps: Swaps | None

    @property
    def good(self) -> bool:
        """Whether every way agrees with the CPU and memory stayed flat."""
        return all(one.good for one in self.agreements) and (self.swaps is None or self.swaps.good)


def markdown(sitting: Sitting) -> str:
    """The machine's line, then correctness, speed and swaps."""
    lines = [
        sitting.machine.line(),
        f"(after the sitting {sitting.load_after:.2f}). {sitting.provider}, {sitting.device}. "
        f"Ensemble {sitting.ensemble}.",
        "",
        "#### Against the CPU, float32",
        "",
        "| way | plan | largest difference | at rows | tolerance | |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_agreement(one) for one in sitting.agreements),
    ]
    if sitting.figures:
        lines += ["", "#### By batch size", "", *_speed(sitting.figures)]
    if sitting.swaps is not None:
        lines += ["", "#### Swaps", "", *_swaps(sitting.swaps)]
    return "\n".join(lines) + "\n"


def _agreement(one: Agreement) -> str:
    verdict = "good" if one.good else one.problem or "too far"
    return f"| {one.way} | {one.plan} | {one.difference:.2e} | {one.rows} | {one.tolerance:g} | {verdict} |"


def _speed(figures: Sequence[Figure]) -> Iterator[str]:
    ways = list(dict.fromkeys(one.way for one in figures))
    cells = {(one.rows, one.way): one for one in figures}
    yield f"Each cell: p50 / p99 ms · rows/s · rows/s ÷ {BARE}'s. One caller, from host arrays to host arrays."
    yield ""
    yield "| rows | " + " | ".join(ways) + " |"
    yield "| --- " * (len(ways) + 1) + "|"
    for rows in dict.fromkeys(one.rows for one in figures):
        label = "mixed" if rows == MIXED else str(rows)
        yield f"| {label} | " + " | ".join(_figure(cells[rows, way]) for way in ways) + " |"


def _figure(one: Figure) -> str:
    text = f"{number(one.p50_ms)} / {number(one.p99_ms)} · {number(one.rows_per_s)}"
    return text if one.bare_ratio is None else f"{text} · {one.bare_ratio:.2f}×"


def _swaps(swaps: Swaps) -> Iterator[str]:
    count = len(swaps.used_bytes)
    settled = swaps.used_bytes[settling(count) :]
    yield (
        f"{count} swaps, {swaps.way}: {swaps.memory}, {min(settled) / MIB:,.0f}–{max(settled) / MIB:,.0f} MiB "
        f"after the first {settling(count)}; spread {swaps.spread_bytes / MIB:,.1f} MiB "
        f"(limit {swaps.limit_bytes / MIB:,.0f}), growth {swaps.growth_bytes / MIB:,.1f} MiB. "
        f"{'Flat.' if swaps.spread_bytes <= swaps.limit_bytes else 'Not flat.'}"
    )
    if swaps.wrong:
        yield f"After {swaps.wrong} swaps the answer was not the new version's."
