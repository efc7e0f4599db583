"""Counters of one served version in the shape of Triton's statistics extension; nanoseconds, as there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from server.serving.batching.batch import BatchResult, Part


@dataclass(slots=True)
class Duration:
    """How often something happened and how long it took altogether, in nanoseconds."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count something that happened so many times and took so many seconds altogether."""
        self.count += times
        self.ns += int(seconds * 1e9)


@dataclass(slots=True)
class ServableStats:
    """Requests by success and failure, and where their time went.

    `last_inference_ms` is milliseconds since the epoch; `inference_count` counts rows, `execution_count` batches.
    """

    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batch_stats: dict[int, Duration] = field(default_factory=dict)

    def batch(self, parts: Sequence[Part], result: BatchResult | BaseException, seconds: float, now: float) -> None:
        """Account for one batch; `now` is the monotonic clock in seconds."""
        self.last_inference_ms = time.time_ns() // 1_000_000
        if isinstance(result, BatchResult):
            self._computed(sum([part.rows for part in parts]), result, seconds)
        ended = [part.entry for part in parts if not part.entry.open_parts]
        answered = [now - entry.arrived for entry in ended if entry.answered]
        self.success.add(sum(answered), len(answered))
        if len(answered) < len(ended):
            failed = [now - entry.arrived for entry in ended if not entry.answered]
            self.fail.add(sum(failed), len(failed))
        self.queue.add(sum([entry.started - entry.arrived for entry in ended]), len(ended))

    def _computed(self, rows: int, result: BatchResult, seconds: float) -> None:
        self.inference_count += rows
        self.execution_count += 1
        infer_s = result.prediction.compute_seconds
        fusion_s = result.prediction.fusion_seconds
        self.compute_input.add(max(0.0, seconds - infer_s - fusion_s))
        self.compute_infer.add(infer_s)
        self.compute_output.add(fusion_s)
        found = self.batch_stats.get(rows)
        if found is None:
            found = self.batch_stats[rows] = Duration()
        found.add(infer_s)
