"""Heads of requests that were parsed before: the same bytes mean the same, so they are not parsed again.

A client on a kept-alive connection sends the same head over and over; only the digits of its content length differ.
Parsing it takes a callback for each header (measured: a third of what a tiny ensemble's request costs). So what lies
before and behind those digits is looked up, and what the parser made of it the last time is taken.

That is sound because the parse of a head depends on its bytes alone, `Content-Length` occurs in it once and at the
beginning of a line, and only digits stand for digits.
"""

from __future__ import annotations

from server.http.codec.call import Call

KEPT = 1024
"""Heads; beyond that they are collected anew."""
LONGEST = 2048
"""Bytes of a head that is worth keeping."""

Split = tuple[bytes, bytes]
"""A head without the digits of its content length: what is before them, what is behind."""

_END = b"\r\n\r\n"
_NO_HEAD = (b"", b""), b"", b""


def split(data: bytes) -> tuple[Split, bytes, bytes]:
    """The head around the digits of its content length, the digits, and what follows the head.

    Where there is no such header spelled in one of the usual ways, the digits are empty and the rest means nothing.
    """
    end = data.find(_END)
    if end < 0:
        return _NO_HEAD
    head = data[:end]
    before, name, behind = head.partition(b"\r\nContent-Length: ")
    if not name:
        before, _, behind = head.partition(b"\r\ncontent-length: ")
    digits, _, rest = behind.partition(b"\r\n")
    return (before, rest), digits, data[end + 4 :]


class HeadCache(dict[Split, Call]):
    """Heads of plain prediction requests that were answered on the short way, and what they ask."""

    def add(self, head: Split, call: Call) -> None:
        """Remember a head that was parsed; not where the digits could be another header's."""
        before, rest = head
        if len(before) + len(rest) > LONGEST or _another(before) or _another(b"\r\n" + rest):
            return
        if len(self) >= KEPT:
            self.clear()
        self[head] = call


def _another(part: bytes) -> bool:
    """Whether a line that is a content length begins in this part of a head."""
    return b"\r\ncontent-length" in part.lower()
