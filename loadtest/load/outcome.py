"""What became of a request: one word each, and the version that answered."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from loadtest.load.wire import Reply


class Outcome(IntEnum):
    """The classes that a report counts. The numbers are for the record's column, the names for people."""

    OK = 0
    DEGRADED = 1
    REFUSED = 2
    """503: overloaded, not ready, or below the quorum."""
    RATE_LIMITED = 3
    """429."""
    DEADLINE = 4
    """504: the server gave up at the request's deadline."""
    CLIENT_ERROR = 5
    """Any other status below 500: the request is at fault, or the generator is."""
    SERVER_ERROR = 6
    """Any other 5xx, or a 200 that is no answer."""
    CONNECTION = 7
    """Could not connect, or the connection ended before the answer."""
    TIMEOUT = 8
    """No answer within the generator's own patience, counted from the scheduled time."""

    @property
    def label(self) -> str:
        return self.name.lower()


ANSWERED = (Outcome.OK, Outcome.DEGRADED)
_BY_STATUS = {503: Outcome.REFUSED, 429: Outcome.RATE_LIMITED, 504: Outcome.DEADLINE}


class _Answer(msgspec.Struct):
    outputs: msgspec.Raw  # must be there; what is in it is not this program's business
    model_version: str = ""
    parameters: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_Answer)


def judge(reply: Reply) -> tuple[Outcome, int]:
    """Outcome and version of an answer; version 0 where the answer names none."""
    if reply.status != 200:
        return _BY_STATUS.get(reply.status) or _by_class(reply.status), 0
    try:
        answer = _decoder.decode(reply.body if reply.json_bytes is None else reply.body[: reply.json_bytes])
    except msgspec.DecodeError:
        return Outcome.SERVER_ERROR, 0
    version = int(answer.model_version) if answer.model_version.isdecimal() else 0
    return (Outcome.DEGRADED if answer.parameters.get("degraded") else Outcome.OK), version


def _by_class(status: int) -> Outcome:
    return Outcome.CLIENT_ERROR if 300 <= status < 500 else Outcome.SERVER_ERROR


def explain(reply: Reply) -> str:
    """The server's own words for an answer that failed, cut to one line of 200 characters."""
    try:
        text = str(msgspec.json.decode(reply.body)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        text = reply.body[:200].decode("utf-8", "replace")
    return f"{reply.status}: {' '.join(text.split())[:200]}"
