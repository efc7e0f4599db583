"""The tunnel's frames: ASGI's messages over a unix socket, one request at a time on a connection.

```
u32 payload bytes | u8 kind | payload
```
A front sends SCOPE, then, once the application asks with GO, the body's chunks and LEFT when the client leaves. The
engine answers START, BODY…, END; or QUIT where the application returned without an answer to a client that left; or
CRASH where it raised.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE, GO, CHUNK, LAST_CHUNK, LEFT = range(5)
START, BODY, END, QUIT, CRASH = range(5, 10)

_HEAD = struct.Struct("<IB")


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What an ASGI scope says of a request; the rest of a scope is the same for all."""

    http_version: str
    scheme: str
    method: str
    path: str
    raw_path: bytes
    query_string: bytes
    root_path: str
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None


class Start(msgspec.Struct, array_like=True, frozen=True):
    """Status and headers of an answer."""

    status: int
    headers: list[tuple[bytes, bytes]]


class Wire:
    """One end of a tunnel's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> tuple[int, bytes]:
        """The next frame; raises EOFError when the other end is gone. Not to be cancelled and used again."""
        try:
            size, kind = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
            return kind, await self._reader.readexactly(size) if size else b""
        except (asyncio.IncompleteReadError, OSError) as error:
            raise EOFError("the other end of the tunnel is gone") from error

    async def write(self, kind: int, payload: bytes = b"") -> None:
        """Send a frame and wait while the other end does not read; raises EOFError when it is gone."""
        try:
            self._writer.write(_HEAD.pack(len(payload), kind))
            if payload:
                self._writer.write(payload)
            await self._writer.drain()
        except OSError as error:
            raise EOFError("the other end of the tunnel is gone") from error

    @property
    def broken(self) -> bool:
        """Whether the other end is known to be gone."""
        return self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()


def head_of(scope: Scope) -> bytes:
    """The scope as a SCOPE frame's payload."""
    return msgspec.msgpack.encode(
        Head(
            scope["http_version"], scope["scheme"], scope["method"], scope["path"], scope["raw_path"],
            scope["query_string"], scope["root_path"], [(name, value) for name, value in scope["headers"]],
            scope["client"], scope["server"],
        )
    )  # fmt: skip


_heads = msgspec.msgpack.Decoder(Head)


def scope_of(payload: bytes) -> Scope:
    """The scope that the engine's application gets: what uvicorn would have made there."""
    head = _heads.decode(payload)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "state": {},
        **msgspec.structs.asdict(head),
    }
