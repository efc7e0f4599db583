"""The engine's end of a link: routes what a front sends at the moment it queues it, and sends answers back."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import msgspec

from server.errors import ServerError, Superseded
from server.front.bundle import array_of
from server.front.faults import failure_of
from server.front.messages import Ask, FromEngine, FromFront, Known, Output, Result, Served, Setup, Submit
from server.front.stream import Stream
from server.http.inference.rate_limit import RateLimit
from server.metrics import Metrics

if TYPE_CHECKING:
    from server.serving.batching.answer import Answer
    from server.serving.manager import Manager
    from server.serving.servable import Servable

KEPT_VERSIONS = 256
"""Served versions that a front remembers; beyond that it forgets all and is told anew what it needs."""
KEPT_SELECTIONS = 1024

log = logging.getLogger("tutti.front")


class ServedIds:
    """An id for each servable there ever was, one for all fronts."""

    def __init__(self) -> None:
        self._ids: WeakKeyDictionary[Servable, int] = WeakKeyDictionary()
        self._next = itertools.count(1)

    def of(self, servable: Servable) -> int:
        """The servable's id, from 1."""
        found = self._ids.get(servable)
        if found is None:
            found = self._ids[servable] = next(self._next)
        return found


class Reply(asyncio.Future["Answer"]):
    """An entry's reply that goes to the front as soon as it is there, without a turn of the loop between."""

    def __init__(self, link: FrontLink, id: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._id = id
        self._front = link

    def set_result(self, result: Answer) -> None:
        super().set_result(result)
        self._front.answer(self._id, result)

    def set_exception(self, exception: type | BaseException) -> None:
        super().set_exception(exception)
        found = self.exception()  # taken note of: nobody else awaits it
        if found is not None:
            self._front.fail(self._id, found)


class FrontLink(Stream[FromFront, FromEngine]):
    """One front's requests in the engine. Event-loop thread only."""

    def __init__(
        self, manager: Manager, metrics: Metrics, ids: ServedIds, rate: RateLimit | None, gone: Callable[[], None]
    ) -> None:
        super().__init__(FromFront, FromEngine)
        self.listening = asyncio.Event()
        self.on_listening: Callable[[], None] = lambda: None
        self._manager = manager
        self._metrics = metrics
        self._ids = ids
        self._rate = rate
        self._gone = gone
        self._told: set[int] = set()
        self._replies: dict[int, Reply] = {}
        self._selections: dict[tuple[str, ...], tuple[str, ...]] = {}

    def welcome(self, setup: Setup) -> None:
        """Tell the front what it must know to start."""
        self.outbox.setup = setup
        self.soon()

    def stop(self) -> None:
        """Ask the front to stop accepting, to finish what it has, and to leave."""
        self.outbox.stop = True
        self.soon()

    def took(self, message: FromFront, body: memoryview) -> None:
        for submit in message.submits:
            self._submit(submit, body)
        for ask in message.asks:
            self._answer_ask(ask)
        for id in message.cancelled:
            if (reply := self._replies.pop(id, None)) is not None:
                reply.cancel()
        for count in message.counts:
            self._metrics.requests(count.ensemble, count.version, count.outcome, count.buckets, count.seconds)
        if message.listening:
            self.listening.set()
            self.on_listening()

    def lost(self) -> None:
        """The front has gone, and its clients with it: what they asked for is not computed."""
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            reply.cancel()
        self._gone()

    def answer(self, id: int, answer: Answer) -> None:
        """An entry was computed."""
        if self._replies.pop(id, None) is None:
            return
        body = self.body
        tensors = [body.add(array) for array in answer.outputs.values()]
        self.outbox.results.append(
            Result(id, list(answer.outputs), tensors, answer.missing, answer.queue_s, answer.compute_s)
        )
        self.soon()

    def fail(self, id: int, error: BaseException) -> None:
        """An entry was refused or failed."""
        self._replies.pop(id, None)
        self.outbox.failures.append(failure_of(id, error))
        self.soon()

    def _submit(self, submit: Submit, body: memoryview) -> None:
        """Route, compare with what the request was decoded for, and queue: without a turn of the loop between."""
        try:
            if self._rate is not None:
                self._rate.take(submit.client)
            servable = self._manager.route(submit.name, submit.version, submit.label)
            served = self._ids.of(servable)
            if served != submit.served:
                self._supersede(submit, servable, served)
                return
            names = (tensor.name for tensor in servable.manifest.inputs)
            feeds = {name: array_of(tensor, body) for name, tensor in zip(names, submit.feeds, strict=True)}
            entry = servable.entry(feeds, submit.rows, self._selection(submit.outputs), submit.deadline)
            entry.arrived = submit.arrived
            entry.reply = self._replies[submit.id] = Reply(self, submit.id, self._loop)
            servable.submit_nowait(entry)
        except ServerError as error:
            self.fail(submit.id, error)
        except Exception as error:  # one request's, where it would otherwise end the link and all others' with it
            log.exception("a request for '%s' failed unexpectedly", submit.name)
            self.fail(submit.id, error)

    def _supersede(self, submit: Submit, servable: Servable, served: int) -> None:
        self._tell(servable, served)
        error = Superseded(f"'{servable.name}': version {servable.version} answers now")
        self.outbox.failures.append(failure_of(submit.id, error, served))
        self.soon()

    def _answer_ask(self, ask: Ask) -> None:
        try:
            servable = self._routed(ask)
        except ServerError as error:
            self.fail(ask.id, error)
            return
        served = self._ids.of(servable)
        self._tell(servable, served)
        self.outbox.known.append(Known(ask.id, served))
        self.soon()

    def _routed(self, ask: Ask) -> Servable:
        refused = ask.refusing
        try:
            servable = self._manager.route(ask.name, ask.version, ask.label)
        except ServerError:
            refused = True
            raise
        finally:
            if refused and self._rate is not None:
                self._rate.take(ask.client)
        return servable

    def _tell(self, servable: Servable, id: int) -> None:
        """Make sure that the front knows this version before it reads on."""
        if id in self._told:
            return
        if len(self._told) >= KEPT_VERSIONS:
            # Not while this outbox names versions: what it says is read after the forgetting.
            self.flush()
            self._told.clear()
            self.outbox.forget = True
        self._told.add(id)
        outputs = [Output(name, spec.datatype, tuple(spec.shape)) for name, spec in servable.ensemble.outputs.items()]
        manifest = msgspec.msgpack.encode(servable.manifest)
        self.outbox.served.append(Served(id, manifest, outputs, tuple(servable.ensemble.default_outputs)))
        self.soon()

    def _selection(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The same names as one shared tuple: the batcher sees by identity that a batch wants the same."""
        found = self._selections.get(names)
        if found is None:
            if len(self._selections) >= KEPT_SELECTIONS:
                self._selections.clear()
            found = self._selections[names] = names
        return found
