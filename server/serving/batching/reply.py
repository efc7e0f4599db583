"""A reply that is told where it is settled, not in a later turn of the event loop.

For the short way in: a future would cost a handle on the loop and, when awaited, a task. It is not awaitable; who wants
to await submits with a future.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.serving.batching.answer import Answer

log = logging.getLogger("tutti.servable")


class DirectReply:
    """A future's face for one answer. Settled once, by the batcher or by `cancel`; event-loop thread only.

    Whoever waits derives from it and defines `settled`.
    """

    __slots__ = ("_answer", "_cancelled", "_done", "_error")

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._done = False

    def settled(self) -> None:
        """Called once there is an answer, an error or a cancellation: inside the batcher, so it must be short."""

    def done(self) -> bool:
        """Whether it is settled."""
        return self._done

    def cancelled(self) -> bool:
        """Whether the client left first."""
        return self._cancelled

    def exception(self) -> BaseException | None:
        """The error it was settled with."""
        return self._error

    def result(self) -> Answer:
        """The answer; raises the error it was settled with, or CancelledError."""
        if self._answer is not None:
            return self._answer
        raise self._error or asyncio.CancelledError

    def set_result(self, answer: Answer) -> None:
        """Settle with the answer."""
        self._answer = answer
        self._done = True
        try:
            self.settled()
        except Exception:
            # Inside the batcher a fault of one request must not reach its batch-mates.
            log.exception("an answer could not be delivered")

    def set_exception(self, error: BaseException) -> None:
        """Settle with an error."""
        self._error = error
        self._settle()

    def cancel(self) -> bool:
        """Withdraw the request: rows that have not started are not computed. False when it is settled already."""
        if self._done:
            return False
        self._cancelled = True
        self._settle()
        return True

    def _settle(self) -> None:
        assert not self._done, "a reply is settled twice: this is a bug"
        self._done = True
        try:
            self.settled()
        except Exception:
            log.exception("an answer could not be delivered")


class Asked(DirectReply):
    """A reply whose request arrived at `started` (seconds of the monotonic clock)."""

    __slots__ = ("started",)

    started: float

    def follow(self, future: asyncio.Future[Any]) -> None:
        """Be settled as the future is; for what is computed in another process."""
        raise NotImplementedError
