"""Latency and throughput by batch size: the runtime in each way beside onnxruntime alone, in turns on one device."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import msgspec
import numpy as np

from loadtest.accelerators.bare import Bare
from loadtest.accelerators.versions import Rows, Versions
from loadtest.accelerators.ways import Way
from loadtest.peers.networks import INPUT
from server.runtime import LoadedEnsemble, SessionPool

BARE = "onnxruntime alone"
ROUNDS = 3
FEWEST_RUNS = 3
MIXED = 0
"""Stands for batches of every size up to the most rows, in random order: what a server sees."""

Predict = Callable[[Rows], object]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One way at one batch size: median over all rounds, from the host's arrays to the host's arrays.

    `rows` 0: mixed sizes, and then the times are of whole batches of different sizes. `bare_ratio`: rows a
    second ÷ onnxruntime's alone, None for itself.
    """

    way: str
    rows: int
    p50_ms: float
    p99_ms: float
    rows_per_s: float
    bare_ratio: float | None


def measure(versions: Versions, ways: Sequence[Way], sizes: Sequence[int], seconds: float) -> list[Figure]:
    """Figures of every way and of onnxruntime alone at every size, one caller at a time; `seconds` for each figure.

    Raises LoadError where a version is refused. The first runs of each size are not counted, the mixed ones are.
    """
    pool = SessionPool()
    with ExitStack() as held:
        runs: dict[str, Predict] = {BARE: Bare(versions.ensembles[0].merged, ways[0].provider)}
        for way in ways:
            runs[way.name] = _predict(held.enter_context(versions.loaded(1, pool, (way.provider,))))
        figures = [figure for rows in sizes for figure in _figures(runs, rows, [versions.rows(rows)], seconds)]
        batches = [versions.rows(rows) for rows in range(1, max(sizes) + 1)]
        random.Random(0).shuffle(batches)
        return figures + _figures(runs, MIXED, batches, seconds)


def _predict(ensemble: LoadedEnsemble) -> Predict:
    outputs = ("probabilities",)
    return lambda rows: ensemble.predict({INPUT: rows}, outputs)


def _figures(runs: Mapping[str, Predict], rows: int, batches: Sequence[Rows], seconds: float) -> list[Figure]:
    taken: dict[str, list[tuple[int, float]]] = {name: [] for name in runs}
    if rows != MIXED:
        for run in runs.values():
            for _ in range(FEWEST_RUNS):
                run(batches[0])
    for _ in range(ROUNDS):
        for name, run in runs.items():
            taken[name] += _timed(run, batches, seconds / ROUNDS)
    rates = {name: sum(count for count, _ in times) / sum(took for _, took in times) for name, times in taken.items()}
    return [
        Figure(
            way=name,
            rows=rows,
            p50_ms=float(np.median([took for _, took in taken[name]])) * 1e3,
            p99_ms=float(np.percentile([took for _, took in taken[name]], 99)) * 1e3,
            rows_per_s=rates[name],
            bare_ratio=None if name == BARE else rates[name] / rates[BARE],
        )
        for name in runs
    ]


def _timed(run: Predict, batches: Sequence[Rows], seconds: float) -> list[tuple[int, float]]:
    """Rows and seconds of each run; every batch at least once, and at least a few runs."""
    taken: list[tuple[int, float]] = []
    end = time.perf_counter() + seconds
    while len(taken) < max(FEWEST_RUNS, len(batches)) or time.perf_counter() < end:
        batch = batches[len(taken) % len(batches)]
        started = time.perf_counter()
        run(batch)
        taken.append((len(batch), time.perf_counter() - started))
    return taken
