"""Records written by hand, for reports whose every figure is known."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.load.outcome import Outcome
from loadtest.load.record import Record, Sample
from loadtest.reporting.report import Report


def sample(*rows: Sequence[float], origin: float = 0.0) -> Sample:
    """A sample of `(scheduled, latency[, version[, connection[, outcome]]])`, taken in hand without lag."""
    record = Record()
    for scheduled, latency, *more in sorted(rows, key=lambda row: row[0] + row[1]):
        version, connection, outcome = (*map(int, more), *(1, 0, 0)[len(more) :])
        record.add(scheduled, scheduled, scheduled + latency, Outcome(outcome), version=version, connection=connection)
    return record.sample(origin)


def of_the_server(report: Report) -> list[str]:
    """The report's problems but that of a generator which a busy machine kept from keeping up."""
    return [problem for problem in report.problems if problem != report.client.verdict]
