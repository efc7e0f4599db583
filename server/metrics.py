"""Metrics: plain cells that the event loop adds to, and one collector that shows them to Prometheus.

Every cell is written on the event loop's thread only, so that adding costs no lock: 0.1 µs a counter and 0.4 µs a
histogram where prometheus_client's own take 1.2 and 2.2 µs (measured side by side). prometheus_client keeps the
exposition, content negotiation and the process metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import generate_latest

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Bounds in seconds; a tiny ensemble answers in 100 µs, a deadline is at most minutes. Each bound is a line per series
and scrape, so they are close only where most answers are."""
PARTS = (0.0001, 0.0005, 0.0025, 0.01, 0.05, 0.25, 2.5)
"""Bounds in seconds of what a request's time is made of."""
ROWS = tuple(float(1 << power) for power in range(0, 13, 2))
UNIT = tuple(round(step / 10, 1) for step in range(1, 11))
RETIRED_VERSIONS = 4
"""Series of the last retired versions stay, so that a scrape after the swap still sees their last values."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a metric is: name, kind, labels, help, and bounds of a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "summary"]
    labels: Labels
    help: str
    bounds: tuple[float, ...] = ()

    @property
    def samples(self) -> int:
        """Lines of one label set: a histogram's are its bounds, `+Inf`, count and sum."""
        return len(self.bounds) + 3 if self.kind == "histogram" else 2 if self.kind == "summary" else 1


_EV = ("ensemble", "version")
SPECS: tuple[Spec, ...] = (
    Spec("tutti_requests_total", "counter", (*_EV, "outcome"), "Prediction requests by how they ended."),
    Spec("tutti_request_seconds", "histogram", _EV, "From the whole request read to the answer encoded.", SECONDS),
    Spec("tutti_queue_seconds", "histogram", _EV, "A request's wait for its batch to start.", PARTS),
    Spec("tutti_compute_seconds", "histogram", _EV, "One batch: members and fusion.", SECONDS),
    Spec("tutti_member_seconds", "histogram", (*_EV, "member"), "One member in one batch, where its plan runs "
         "members apart.", PARTS),
    Spec("tutti_fusion_seconds", "histogram", _EV, "Alignment and fusion of one batch.", PARTS),
    Spec("tutti_batch_rows", "histogram", _EV, "Rows of a batch.", ROWS),
    Spec("tutti_queue_rows", "gauge", _EV, "Rows waiting for a lane now."),
    Spec("tutti_inflight_rows", "gauge", _EV, "Rows being computed now."),
    Spec("tutti_member_failures_total", "counter", (*_EV, "member", "reason"), "Batches in which a member raised or "
         "gave NaN, Inf, a wrong shape or no distribution."),
    Spec("tutti_detector_failures_total", "counter", (*_EV, "detector", "reason"), "Batches in which a detector raised "
         "or gave NaN or a wrong shape: the score is told without it."),
    Spec("tutti_extra_failures_total", "counter", (*_EV, "extra", "reason"), "Batches in which an extra raised or gave "
         "a wrong shape: requests that asked for it fail."),
    Spec("tutti_degraded_total", "counter", _EV, "Requests answered with a member missing."),
    Spec("tutti_quality_rows_total", "counter", _EV, "Rows looked at for the two metrics below: a sample of the "
         "batches, at most 100 a second."),
    Spec("tutti_member_disagreement_total", "counter", (*_EV, "member"), "Sampled rows where the member's class "
         "differs from the fused one."),
    Spec("tutti_confidence", "histogram", _EV, "Largest fused probability of a sampled row.", UNIT),
    Spec("tutti_ood_score", "histogram", _EV, "How strange sampled rows are to the detectors, where there are any.",
         UNIT),
    Spec("tutti_swap_total", "counter", ("ensemble", "outcome"), "Versions brought into service (ok) or refused "
         "(reason)."),
    Spec("tutti_swap_seconds", "summary", ("ensemble", "phase"), "Phases of a swap: verify, load, golden, measure, "
         "activate, drain, free; how many and how long altogether."),
    Spec("tutti_serving_version", "gauge", ("ensemble",), "The stable version that answers now; 0 where none does."),
    Spec("tutti_provider_fallback", "gauge", (*_EV, "member"), "1 where a member runs on another execution provider "
         "than asked for."),
    Spec("tutti_sessions", "gauge", (), "Loaded onnxruntime sessions."),
    Spec("tutti_session_bytes", "gauge", (), "Bytes of the ONNX files behind the loaded sessions."),
    Spec("tutti_fronts", "gauge", (), "Front processes that accept connections; 0 where this process does it itself."),
    Spec("tutti_front_restarts_total", "counter", (), "Front processes that ended unasked and were started again."),
    Spec("tutti_repository_errors_total", "counter", (), "Looks at the repository that failed; what is served stays."),
    Spec("tutti_repository_stale", "gauge", (), "1 while the repository cannot be read."),
)  # fmt: skip


class Cell:
    """A counter or gauge of one label set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0.0


class Histogram:
    """Counts per bucket and the sum of what was observed; without bounds a summary."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def observe_all(self, values: Sequence[float]) -> None:
        """The same for many values at once."""
        bounds, counts = self.bounds, self.counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.total += sum(values)

    def merge(self, counts: Sequence[int], total: float) -> None:
        """Add what another histogram of the same bounds observed."""
        for index, count in enumerate(counts):
            self.counts[index] += count
        self.total += total

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts with their upper bounds, as the exposition format wants them."""
        cumulative, rows = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            cumulative += count
            rows.append((bound, float(cumulative)))
        return rows


@dataclass(frozen=True, slots=True)
class Slice:
    """Some samples of a family; `first` where its head (`# HELP`, `# TYPE`) belongs before them."""

    family: Family
    first: bool


@dataclass(slots=True)
class ServableMetrics:
    """The cells of one served version, looked up once so that the hot path only adds."""

    compute: Histogram
    fusion: Histogram
    queue: Histogram
    request: Histogram
    batch_rows: Histogram
    confidence: Histogram
    degraded: Cell
    quality_rows: Cell
    queue_rows: Cell
    inflight_rows: Cell
    member: Mapping[str, Histogram]
    disagreement: Mapping[str, Cell]
    outcomes: dict[str, Cell] = field(default_factory=dict)


class Metrics:
    """All metrics of one server, without a registry that others share. Event-loop thread only, `slices` included."""

    def __init__(self) -> None:
        self._specs = {spec.name: spec for spec in SPECS}
        self._cells: dict[str, dict[Labels, Cell | Histogram]] = {spec.name: {} for spec in SPECS}
        self._sources: dict[str, Callable[[], float]] = {}
        self._servables: dict[Labels, ServableMetrics] = {}
        self._users: dict[Labels, int] = {}
        self._retired: dict[str, list[str]] = {}
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        GCCollector(registry=self._process)

    def cell(self, name: str, *labels: str) -> Cell:
        """The counter or gauge `name` of this label set, made on first use."""
        found = self._cells[name].get(labels)
        if found is None:
            found = self._cells[name][labels] = Cell()
        assert isinstance(found, Cell), f"{name} is a histogram: this is a bug"
        return found

    def histogram(self, name: str, *labels: str) -> Histogram:
        """The histogram `name` of this label set, made on first use."""
        found = self._cells[name].get(labels)
        if found is None:
            found = self._cells[name][labels] = Histogram(self._specs[name].bounds)
        assert isinstance(found, Histogram), f"{name} is no histogram: this is a bug"
        return found

    def source(self, name: str, read: Callable[[], float]) -> None:
        """A gauge without labels that is read at each scrape."""
        self._sources[name] = read

    def servable(self, ensemble: str, version: int, members: Sequence[str]) -> ServableMetrics:
        """The cells of one version; the same cells when it is loaded again, with other members perhaps.

        Each call needs one `retire`.
        """
        key = (ensemble, str(version))
        self._users[key] = self._users.get(key, 0) + 1
        if key[1] in (retired := self._retired.get(ensemble, [])):
            retired.remove(key[1])
        made = self._servables[key] = ServableMetrics(
            compute=self.histogram("tutti_compute_seconds", *key),
            fusion=self.histogram("tutti_fusion_seconds", *key),
            queue=self.histogram("tutti_queue_seconds", *key),
            request=self.histogram("tutti_request_seconds", *key),
            batch_rows=self.histogram("tutti_batch_rows", *key),
            confidence=self.histogram("tutti_confidence", *key),
            degraded=self.cell("tutti_degraded_total", *key),
            quality_rows=self.cell("tutti_quality_rows_total", *key),
            queue_rows=self.cell("tutti_queue_rows", *key),
            inflight_rows=self.cell("tutti_inflight_rows", *key),
            member={m: self.histogram("tutti_member_seconds", *key, m) for m in members},
            disagreement={m: self.cell("tutti_member_disagreement_total", *key, m) for m in members},
        )
        return made

    def retire(self, ensemble: str, version: int) -> None:
        """The version is unloaded: its series go once more than `RETIRED_VERSIONS` of the ensemble have been."""
        key = (ensemble, str(version))
        users = self._users.pop(key, 0) - 1
        if users > 0:
            self._users[key] = users  # other content serves under the same number
        if users or self._servables.pop(key, None) is None:
            return
        retired = self._retired.setdefault(ensemble, [])
        retired.append(key[1])
        while len(retired) > RETIRED_VERSIONS:
            self._drop((ensemble, retired.pop(0)))

    def forget(self, ensemble: str) -> None:
        """The ensemble is gone: so are all its series."""
        self._drop((ensemble,))
        self._retired.pop(ensemble, None)
        for kept in (self._servables, self._users):
            for key in [key for key in kept if key[0] == ensemble]:
                kept.pop(key)

    def request(self, ensemble: str, version: str, outcome: str, seconds: float) -> None:
        """Count one prediction request; `ensemble` and `version` are "" where it never reached one."""
        servable = self._servables.get((ensemble, version))
        if servable is None:
            # A name that is not served would let clients make as many series as they like.
            self.cell("tutti_requests_total", "", "", outcome).value += 1
            return
        cell = servable.outcomes.get(outcome)
        if cell is None:
            cell = servable.outcomes[outcome] = self.cell("tutti_requests_total", ensemble, version, outcome)
        cell.value += 1
        if outcome == "degraded":
            servable.degraded.value += 1
        histogram = servable.request
        histogram.counts[bisect_left(histogram.bounds, seconds)] += 1
        histogram.total += seconds

    def answered(self, ensemble: str, version: str, seconds: Sequence[float]) -> None:
        """Count prediction requests that were answered with every member, each with its seconds."""
        servable = self._servables.get((ensemble, version))
        if servable is None:
            self.cell("tutti_requests_total", "", "", "ok").value += len(seconds)
            return
        cell = servable.outcomes.get("ok")
        if cell is None:
            cell = servable.outcomes["ok"] = self.cell("tutti_requests_total", ensemble, version, "ok")
        cell.value += len(seconds)
        servable.request.observe_all(seconds)

    def requests(self, ensemble: str, version: str, outcome: str, buckets: Sequence[int], seconds: float) -> None:
        """Count requests that finished in another process: counts per bucket of `SECONDS`, and the sum in seconds."""
        servable = self._servables.get((ensemble, version))
        if servable is None and version not in self._retired.get(ensemble, ()):
            self.cell("tutti_requests_total", "", "", outcome).value += sum(buckets)
            return
        self.cell("tutti_requests_total", ensemble, version, outcome).value += sum(buckets)
        self.histogram("tutti_request_seconds", ensemble, version).merge(buckets, seconds)

    def render(self) -> bytes:
        """The whole exposition at once, in the text format; a server writes it in slices (`server.http.exposition`)."""
        return generate_latest(self)

    def collect(self) -> Iterator[Family]:
        """Everything as prometheus_client's metric families, the process's own too."""
        for part in self.slices(1 << 30):
            yield part.family

    def slices(self, samples: int) -> Iterator[Slice]:
        """The same in pieces of about so many samples at most: a family with more comes in several, one after another.

        What nobody asked for is not among them: of a version without requests no zeros are written.
        """
        asked = {labels for labels, cell in self._cells["tutti_request_seconds"].items() if _observed(cell)}
        for spec in SPECS:
            cells = [(labels, cell) for labels, cell in self._cells[spec.name].items()
                     if spec.labels[:2] != _EV or labels[:2] in asked or _observed(cell)]  # fmt: skip
            step = max(1, samples // spec.samples)
            yield Slice(self._family(spec, cells[:step], self._sources.get(spec.name)), first=True)
            for start in range(step, len(cells), step):
                yield Slice(self._family(spec, cells[start : start + step]), first=False)
        for family in self._process.collect():
            yield Slice(family, first=True)

    @staticmethod
    def _family(
        spec: Spec, cells: Iterable[tuple[Labels, Cell | Histogram]], read: Callable[[], float] | None = None
    ) -> Family:
        if spec.kind == "histogram":
            histogram = HistogramMetricFamily(spec.name, spec.help, labels=spec.labels)
            for labels, cell in cells:
                assert isinstance(cell, Histogram)
                histogram.add_metric(labels, buckets=cell.buckets(), sum_value=cell.total)
            return histogram
        if spec.kind == "summary":
            summary = SummaryMetricFamily(spec.name, spec.help, labels=spec.labels)
            for labels, cell in cells:
                assert isinstance(cell, Histogram)
                summary.add_metric(labels, count_value=sum(cell.counts), sum_value=cell.total)
            return summary
        plain = (CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily)(
            spec.name, spec.help, labels=spec.labels
        )
        for labels, cell in cells:
            assert isinstance(cell, Cell)
            plain.add_metric(labels, cell.value)
        if read is not None:
            plain.add_metric((), read())
        return plain

    def _drop(self, prefix: Labels) -> None:
        for cells in self._cells.values():
            for labels in [found for found in cells if found[: len(prefix)] == prefix]:
                del cells[labels]


def _observed(cell: Cell | Histogram) -> bool:
    """Whether it is anything but the zeros that it began with."""
    return any(cell.counts) if isinstance(cell, Histogram) else cell.value != 0


def markdown() -> str:
    """The metrics as the table of docs/metrics.md."""
    rows = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    rows += [f"| `{s.name}` | {s.kind} | {', '.join(s.labels) or '–'} | {s.help} |" for s in SPECS]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
