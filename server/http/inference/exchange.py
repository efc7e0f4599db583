"""One prediction request without a task: from its arrival over its batch to its delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from server.http.codec.call import Call
from server.http.codec.reply import Reply
from server.http.codec.request import InferRequest
from server.http.codec.signature import Signature
from server.serving.batching.reply import Asked, log

if TYPE_CHECKING:
    from server.serving.batching.answer import Answer


class Landing(Protocol):
    """Where a settled exchange goes: server.http.inference.inference.Inference."""

    def landed(self, exchange: Exchange) -> None:
        """Called once, when its batch is through or its client has left."""


class Exchange(Asked):
    """A request on its way, which is the reply that its batch settles; `cancel` withdraws it wherever it is.

    `work` is what computes it elsewhere: a task, or a future that another process settles.
    """

    __slots__ = ("body", "call", "deliver", "ensemble", "id", "inference", "request", "signature", "version",
                 "work")  # fmt: skip

    def __init__(self, inference: Landing, call: Call, body: bytes, deliver: Callable[[Reply], None]) -> None:
        self._answer = self._error = None
        self._cancelled = self._done = False
        self.started = monotonic()
        self.ensemble = self.version = self.id = ""
        self.inference = inference
        self.call = call
        self.body = body
        self.deliver = deliver
        self.work: asyncio.Future[Any] | None = None
        self.request: InferRequest
        self.signature: Signature

    def set_result(self, answer: Answer) -> None:
        """Settle with the answer and deliver it."""
        self._answer = answer
        self._done = True
        try:
            self.inference.landed(self)
        except Exception:
            log.exception("an answer could not be delivered")

    def settled(self) -> None:
        """The batch is through, or the client has left."""
        self.inference.landed(self)

    def cancel(self) -> bool:
        """Withdraw the request: rows that have not started are not computed, and nothing is delivered."""
        return super().cancel() if self.work is None else self.work.cancel()

    def follow(self, future: asyncio.Future[Any]) -> None:
        """Be settled as the future is."""
        self.work = future
        future.add_done_callback(self._copy)

    def _copy(self, future: asyncio.Future[Any]) -> None:
        self.work = None
        if future.cancelled():
            self.cancel()
        elif (error := future.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(future.result())
