"""Reading a request's body from ASGI: bounded in bytes, in time, and in patience with clients that leave."""

from __future__ import annotations

import asyncio

from litestar.types import Receive

from server.errors import MalformedRequest, TooLarge
from server.http.codec.errors import BodyTimeout, ClientGone, shown
from server.http.codec.limits import Limits


async def read_body(receive: Receive, limits: Limits, content_length: str | None) -> bytes:
    """The whole body, at most `limits.max_body_bytes`, counted as it arrives whatever the client announced.

    Raises MalformedRequest, TooLarge, BodyTimeout, or ClientGone when the client closes before the end.
    """
    check_length(content_length, limits)
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            return await _read(receive, limits.max_body_bytes)
    except TimeoutError as error:
        raise BodyTimeout(f"body: did not arrive within {limits.body_timeout_s:g} s") from error


def check_length(content_length: str | None, limits: Limits) -> None:
    """Refuse by `Content-Length` before a byte of the body is read."""
    if content_length is None:
        return
    if not (content_length.isascii() and content_length.isdigit()):
        raise MalformedRequest(f"Content-Length: {shown(content_length)} is no number of bytes")
    if len(content_length) > 18 or int(content_length) > limits.max_body_bytes:
        raise TooLarge(f"body: {content_length[:20]} bytes given, at most {limits.max_body_bytes} are taken")


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        assert message["type"] == "http.request"
        chunk = message["body"]
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"body: more than {limit} bytes given")
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


async def drain(receive: Receive, seconds: float) -> None:
    """Read on and drop what comes, until the client has sent all or `seconds` have passed.

    A client that still sends while the connection is closed under it sees a reset and never reads the answer.
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
