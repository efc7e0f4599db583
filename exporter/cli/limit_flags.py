"""Flags of `tutti publish` for batches, queues, deadlines and tolerances, held to what a manifest may say."""

from __future__ import annotations

import argparse
import math

from exporter.cli.arguments import UsageError
from exporter.foreign.tolerance import Tolerance
from model_repo.format.manifest import Batching

MOST_BATCH_ROWS, MOST_QUEUE_ROWS = 65_536, 10_000_000
MOST_DELAY_S, MOST_TIMEOUT_S = 60.0, 3600.0
"""The manifest's own bounds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags, each with what holds where it is not given."""
    usual = Batching()
    group = parser.add_argument_group("limits")
    group.add_argument("--max-batch-rows", type=int, default=usual.max_batch_rows, metavar="N",
                       help="most rows computed at once; more pays for tiny models [%(default)s]")  # fmt: skip
    group.add_argument(
        "--max-queue-rows",
        type=int,
        default=usual.max_queue_rows,
        metavar="N",
        help="most rows that wait [%(default)s]",
    )
    group.add_argument("--max-queue-delay", metavar="S",
                       help="seconds, or 5ms, that a batch is waited for on purpose [0]")  # fmt: skip
    group.add_argument("--max-queue-wait", metavar="S",
                       help="longest wait for a lane that is still accepted, in seconds or 500ms [5]")  # fmt: skip
    group.add_argument("--timeout", metavar="S", help="deadline of a request that names none, in seconds or 500ms [30]")
    group.add_argument("--atol", type=float, metavar="X",
                       help="how far answers may be from the golden ones, and a row alone from the same among others "
                       "[1e-4 of a usual value]")  # fmt: skip
    group.add_argument(
        "--rtol", type=float, metavar="X", help="what they may differ more, as a share of a value [1e-5]"
    )


def batching_of(arguments: argparse.Namespace) -> Batching:
    """Batches of so many rows, and a queue that holds at least one. Raises UsageError."""
    usual = Batching()
    rows = _within("--max-batch-rows", arguments.max_batch_rows, 1, MOST_BATCH_ROWS)
    queue = max(usual.max_queue_rows, rows)
    if arguments.max_queue_rows != usual.max_queue_rows:
        queue = _within("--max-queue-rows", arguments.max_queue_rows, 1, MOST_QUEUE_ROWS)
        if queue < rows:
            raise UsageError(f"--max-queue-rows: {queue} given, expected at least --max-batch-rows, {rows}")
    delay = _seconds("--max-queue-delay", arguments.max_queue_delay, usual.max_queue_delay_s)
    if not 0 <= delay <= MOST_DELAY_S:
        raise UsageError(f"--max-queue-delay: {arguments.max_queue_delay} given, expected 0 to {MOST_DELAY_S:g} s")
    timeout = _seconds("--timeout", arguments.timeout, usual.timeout_s)
    if not 0 < timeout <= MOST_TIMEOUT_S:
        raise UsageError(f"--timeout: {arguments.timeout} given, expected more than 0 and at most {MOST_TIMEOUT_S:g} s")
    wait = _seconds("--max-queue-wait", arguments.max_queue_wait, usual.max_queue_wait_s)
    if not 0 < wait <= MOST_TIMEOUT_S:
        raise UsageError(
            f"--max-queue-wait: {arguments.max_queue_wait} given, expected more than 0 and at most {MOST_TIMEOUT_S:g} s"
        )
    return Batching(
        max_batch_rows=rows,
        max_queue_rows=queue,
        max_queue_delay_s=delay,
        max_queue_wait_s=wait,
        timeout_s=timeout,
    )


def tolerance_of(arguments: argparse.Namespace) -> Tolerance:
    """What the user allows. Raises UsageError."""
    if arguments.atol is not None and not (math.isfinite(arguments.atol) and arguments.atol >= 0):
        raise UsageError(f"--atol: {arguments.atol:g} given, expected a number ≥ 0")
    if arguments.rtol is not None and not 0 <= arguments.rtol <= 1:
        raise UsageError(f"--rtol: {arguments.rtol:g} given, expected 0 to 1")
    return Tolerance(arguments.atol, arguments.rtol)


def _within(flag: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise UsageError(f"{flag}: {value} given, expected {low} to {high}")
    return value


def _seconds(flag: str, text: str | None, usual: float) -> float:
    """`0.5`, `0.5s` or `500ms` in seconds."""
    if text is None:
        return usual
    number, unit = (text[:-2], 1e-3) if text.endswith("ms") else (text.removesuffix("s"), 1.0)
    try:
        seconds = float(number) * unit
    except ValueError as error:
        raise UsageError(f"{flag}: '{text}' given, expected seconds such as 0.5 or 500ms") from error
    return seconds
