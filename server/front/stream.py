"""One end of a link: bundles in, bundles out, one write a turn of the loop."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar, cast

import msgspec

from server.front import bundle
from server.front.bundle import Body, Splitter
from server.front.messages import FromEngine, FromFront

HIGH_WATER_BYTES = 4 << 20
"""What may wait to be written before the other end is no longer read from: some turns' worth of large answers."""

In = TypeVar("In", FromEngine, FromFront)
Out = TypeVar("Out", FromEngine, FromFront)


class Stream(asyncio.Protocol, Generic[In, Out]):
    """A link's end; `outbox` and `body` are what the next write will say. Event-loop thread only.

    While the other end does not read, this one does not read either: what it would read makes more to write.
    """

    def __init__(self, reads: type[In], writes: type[Out]) -> None:
        self.outbox: Out = writes()
        self.body = Body()
        self.closed = False
        self._writes: type[Out] = writes
        self._decoder: msgspec.msgpack.Decoder[In] = msgspec.msgpack.Decoder(reads)
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._scheduled = False

    def took(self, message: In, body: memoryview) -> None:
        """A bundle has come."""
        raise NotImplementedError

    def lost(self) -> None:
        """The other end has gone; nothing more comes."""
        raise NotImplementedError

    def soon(self) -> None:
        """Write what is in the outbox once this turn of the loop is over."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is in the outbox now."""
        self._scheduled = False
        message, body = self.outbox, self.body
        self.outbox, self.body = self._writes(), Body()
        if self._transport is not None and not self.closed:
            self._transport.write(bundle.encode(message, body))

    def close(self) -> None:
        """Let go of the other end; `lost` follows."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        for head, body in self._splitter.feed(data):
            self.took(self._decoder.decode(head), body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.lost()

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()
