"""No server: what onnxruntime alone does in this process, by batch size and lanes; prints one JSON line.

Run by the interpreter that runs Tutti.
"""

# mypy: disable-error-code="import-not-found"
# `fused` is the script beside this one.

from __future__ import annotations

import argparse
import json
import os
import threading
import time

import numpy as np
from fused import Fused, Rows, shape_of

LONE_RUNS = 2000


def rate(fused: Fused, rows: Rows, lanes: int, seconds: float) -> float:
    """Rows per second of `lanes` threads that share the sessions."""
    counts = [0] * lanes
    end = time.perf_counter() + seconds

    def run(lane: int) -> None:
        while time.perf_counter() < end:
            fused(rows)
            counts[lane] += 1

    threads = [threading.Thread(target=run, args=(lane,)) for lane in range(lanes)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) * len(rows) / (time.perf_counter() - start)


def lone_ms(fused: Fused, row: Rows, seconds: float) -> float:
    """Median milliseconds of one row after the other."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < LONE_RUNS and (not taken or time.perf_counter() < end):
        start = time.perf_counter()
        fused(row)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e3


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", required=True)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--batches", default="1,8,32,64,128,256")
    parser.add_argument("--merged", required=True)
    parser.add_argument("files", nargs="+")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    cores = len(os.sched_getaffinity(0))
    found = []
    for plan, files in (("sequential", given.files), ("merged", [given.merged])):
        fused = Fused(files, threads=1)
        for size in (int(text) for text in given.batches.split(",")):
            rows = rng.random((size, *shape_of(given.shape))).astype(np.float32)
            fused(rows)
            for lanes in sorted({1, cores}):
                one = {
                    "plan": plan,
                    "rows": size,
                    "lanes": lanes,
                    "rows_per_s": rate(fused, rows, lanes, given.seconds),
                }
                found.append(one | ({"p50_ms": lone_ms(fused, rows, given.seconds)} if size == lanes == 1 else {}))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
