"""One loaded version in the server: sessions, plan and batcher, with its figures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from time import monotonic

from server.metrics import Metrics
from server.runtime import LoadedEnsemble, Prediction
from server.runtime.prediction import VOTERS, Role
from server.runtime.side_model import SCORE
from server.serving.batching.answer import Answer
from server.serving.batching.batch import Arrays, BatchResult, Entry, Part
from server.serving.batching.batcher import Batcher, BatcherStatistics
from server.serving.batching.isolation import compute
from server.serving.batching.reply import Asked, DirectReply
from server.serving.statistics import ServableStats

QUALITY_PERIOD_S = 0.01
"""Agreement and confidence are taken from one batch in this time: at most 100 a second, under 1% of a core."""
_FAILURES: Mapping[Role, str] = {
    "member": "tutti_member_failures_total",
    "detector": "tutti_detector_failures_total",
    "extra": "tutti_extra_failures_total",
}

log = logging.getLogger("tutti.servable")


class Servable:
    """A version that answers. Event-loop thread only; batches run on `executor` or, if tiny, on the loop.

    `digest` tells it from another content of the same number.
    """

    def __init__(self, ensemble: LoadedEnsemble, executor: Executor, metrics: Metrics) -> None:
        manifest = ensemble.manifest
        self.name = manifest.name
        self.version = manifest.version
        self.digest = ensemble.digest
        self.manifest = manifest
        self.ensemble = ensemble
        self.stats = ServableStats()
        self._loop = asyncio.get_running_loop()
        self._members = tuple(member.name for member in manifest.members)
        self._all_metrics = metrics
        self.metrics = metrics.servable(self.name, self.version, self._members)
        self._voters = ensemble.voters
        self._told = "members" if len(self._voters) == len(self._members) else VOTERS
        self._quality = frozenset({self._told, "probabilities"}) if manifest.task == "classification" else frozenset()
        self._sampled = self._quality
        if manifest.detectors:
            self._sampled |= {SCORE}
        self._quality_due = 0.0
        self._helpless: frozenset[str] = frozenset()
        self._variable = any(-1 in spec.shape[1:] for spec in manifest.inputs)
        self._batcher = Batcher(
            manifest.batching,
            subject=f"'{self.name}' version {self.version}",
            version=self.version,
            lanes=ensemble.lanes,
            executor=executor,
            run=self._compute,
            seconds=ensemble.seconds,
            done=self._done,
        )
        for member, sentence in ensemble.fallbacks.items():
            metrics.cell("tutti_provider_fallback", self.name, str(self.version), member).value = 1
            log.warning("'%s' version %d: %s", self.name, self.version, sentence)

    def submit_nowait(self, entry: Entry) -> None:
        """Queue an entry whose answer arrives in its reply.

        Raises Superseded when this version is draining and Overloaded when its queue is full.
        """
        self._batcher.submit_nowait(entry)
        self.metrics.queue_rows.value = self._batcher.queued_rows

    def entry(
        self,
        feeds: Arrays,
        rows: int,
        outputs: Collection[str],
        deadline: float,
        reply: DirectReply | asyncio.Future[Answer] | None = None,
    ) -> Entry:
        """An entry for validated feeds; `deadline` in seconds of the monotonic clock."""
        key = tuple(array.shape[1:] for array in feeds.values()) if self._variable else ()
        return Entry(feeds, rows, outputs, deadline, reply or DirectReply(), monotonic(), key)

    def check_room(self) -> None:
        """Raise Overloaded where not even one row more is taken: before a request is decoded for nothing."""
        self._batcher.check_room()

    def ask(self, feeds: Arrays, rows: int, outputs: Collection[str], deadline: float, exchange: Asked) -> None:
        """Queue a request of the short way: `entry` and `submit_nowait` in one. `begin` must follow."""
        key = tuple(array.shape[1:] for array in feeds.values()) if self._variable else ()
        self._batcher.queue(Entry(feeds, rows, outputs, deadline, exchange, exchange.started, key))
        self.metrics.queue_rows.value = self._batcher.queued_rows

    def begin(self) -> None:
        """All that was to be asked in this turn of the loop has been."""
        self._batcher.begin()

    async def submit(self, feeds: Arrays, rows: int, outputs: Collection[str], deadline: float) -> Answer:
        """The answer to one request.

        Raises Superseded, Overloaded, DeadlineExceeded, QuorumLost or InvalidTensor. Cancelling is safe: rows
        that have not started are dropped, rows in a running batch are computed for nobody.
        """
        reply: asyncio.Future[Answer] = self._loop.create_future()
        try:
            self.submit_nowait(self.entry(feeds, rows, outputs, deadline, reply))
            return await reply
        finally:
            del reply  # an error's traceback holds this frame, and the reply holds the error

    def deadline(self, timeout_s: float | None) -> float:
        """The absolute deadline of a request that arrives now, on the loop's clock in seconds."""
        allowed = self.manifest.batching.timeout_s
        return monotonic() + (allowed if timeout_s is None else timeout_s)

    def statistics(self) -> BatcherStatistics:
        """Rows and lanes as they are now."""
        return self._batcher.statistics()

    async def drain(self) -> None:
        """Take no new rows and return when what was taken is answered."""
        self._batcher.close()
        await self._batcher.drained()

    def free(self) -> None:
        """Close the sessions; call off the loop, after `drain`."""
        self.ensemble.close()

    def retire(self) -> None:
        """Let the version's series end; on the loop, after `free`."""
        self._all_metrics.retire(self.name, self.version)

    def _compute(self, parts: Sequence[Part]) -> BatchResult:
        return compute(self.ensemble, parts, self._extra_outputs(), self._helpless)

    def _extra_outputs(self) -> Collection[str]:
        if not self._sampled or (now := monotonic()) < self._quality_due:
            return ()
        self._quality_due = now + QUALITY_PERIOD_S
        return self._sampled

    def _done(self, parts: Sequence[Part], result: BatchResult | BaseException, seconds: float) -> None:
        cells = self.metrics
        cells.queue.observe_all([part.entry.started - part.entry.arrived for part in parts if not part.index])
        self.stats.batch(parts, result, seconds, monotonic())
        cells.queue_rows.value, cells.inflight_rows.value = self._batcher.queued_rows, self._batcher.inflight_rows
        if isinstance(result, BatchResult):
            self._helpless = result.helpless
            self._observe(sum([part.rows for part in parts]), result.prediction, seconds)
        else:
            log.error("'%s' version %d: a batch failed", self.name, self.version, exc_info=result)

    def _observe(self, rows: int, prediction: Prediction, seconds: float) -> None:
        cells = self.metrics
        cells.batch_rows.observe(rows)
        cells.compute.observe(seconds)
        cells.fusion.observe(prediction.fusion_seconds)
        ran = self._members if len(prediction.member_seconds) == len(self._members) else self._voters
        for member, member_s in zip(ran, prediction.member_seconds, strict=False):
            cells.member[member].observe(member_s)
        for failure in prediction.failures:
            self._all_metrics.cell(
                _FAILURES[failure.role], self.name, str(self.version), failure.member, failure.reason
            ).value += 1
        if self._sampled and prediction.outputs.keys() >= self._sampled:
            if SCORE in self._sampled:
                self._observe_strangeness(prediction)
            if self._quality:
                self._observe_quality(prediction)

    def _observe_strangeness(self, prediction: Prediction) -> None:
        """How far rows are from what the detectors know; those that none could tell are in no bucket."""
        scores = prediction.outputs[SCORE]
        histogram = self._all_metrics.histogram("tutti_ood_score", self.name, str(self.version))
        histogram.observe_all(scores[scores == scores].tolist())

    def _observe_quality(self, prediction: Prediction) -> None:
        """Agreement of each member with the fused class, and the fused confidence, of every row of the batch."""
        probabilities, members = prediction.outputs["probabilities"], prediction.outputs[self._told]
        cells = self.metrics
        fused = probabilities.argmax(axis=1)
        cells.quality_rows.value += len(fused)
        cells.confidence.observe_all(probabilities.max(axis=1).tolist())
        differs = members.argmax(axis=2) != fused[:, None]
        if prediction.answered is not None:
            answered = [member in self._voters for member in self._members]
            differs &= prediction.answered[answered].T
        for member, count in zip(self._voters, differs.sum(axis=0).tolist(), strict=True):
            cells.disagreement[member].value += count
