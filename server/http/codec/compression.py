"""gzip and deflate, in and out; a hard cap on what a small body may grow to."""

from __future__ import annotations

import zlib

from server.errors import MalformedRequest, TooLarge, UnsupportedMedia
from server.http.codec.errors import shown

MIN_BYTES = 1400
"""Smaller answers leave as they are: they fit one TCP segment either way, and httpx and browsers always offer gzip."""
OFF_LOOP_BYTES = 32 * 1024
"""Answers above this are compressed off the event loop: about 1 ms (measured: 25–40 µs per KiB at level 1)."""
_LEVEL = 1
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""zlib's window bits: 16 + 15 is the gzip wrapper; HTTP's deflate is the zlib wrapper (RFC 9110)."""


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before its `Content-Encoding`.

    Never holds more than `limit` bytes of output. Raises UnsupportedMedia for another encoding or several,
    TooLarge above the limit, MalformedRequest for a stream that is broken, cut off or followed by more.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    window = _WINDOW.get(coding)
    if window is None:
        raise UnsupportedMedia(f"Content-Encoding: {shown(encoding)} given, expected gzip, deflate or identity")
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedRequest(f"body: is not {coding}: {str(error).rpartition(': ')[2]}") from error
    if len(plain) > limit:
        raise TooLarge(f"body: more than {limit} bytes after decompression")
    if not stream.eof:
        raise MalformedRequest(f"body: the {coding} stream is cut off")
    if stream.unused_data:
        raise MalformedRequest(f"body: {len(stream.unused_data)} bytes are left after the {coding} stream")
    return plain


def chosen(accept_encoding: str | None) -> str | None:
    """The coding to answer in: gzip before deflate where both are welcome; None leaves the answer as it is."""
    if not accept_encoding:
        return None
    welcome = {name for name, weight in map(_weighed, accept_encoding.split(",")) if weight > 0}
    return next((name for name in ("gzip", "deflate") if name in welcome), None)


def compress(body: bytes, coding: str) -> bytes:
    """The body in `coding`, as `chosen` named it."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW[coding])
    return stream.compress(body) + stream.flush()


def _weighed(item: str) -> tuple[str, float]:
    """`gzip;q=0.5` as name and weight; a weight that cannot be read counts as 0."""
    name, _, parameter = item.partition(";")
    key, _, value = parameter.strip().partition("=")
    if key.strip().lower() != "q":
        return name.strip().lower(), 1.0
    try:
        return name.strip().lower(), float(value)
    except ValueError:
        return name.strip().lower(), 0.0
