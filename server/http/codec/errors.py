"""The one table error → status, and the JSON body of every error."""

from __future__ import annotations

import logging
import math
import re
import secrets
from typing import Literal

import msgspec

from server.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidTensor,
    LoadError,
    MalformedRequest,
    NotReady,
    Overloaded,
    QuorumLost,
    RateLimited,
    RequestError,
    ServerError,
    TooLarge,
    UnknownEnsemble,
    UnknownVersion,
    UnsupportedMedia,
)
from server.http.codec.lenient_json import as_written
from server.http.codec.reply import Headers, Reply, json_reply

logger = logging.getLogger(__name__)

Outcome = Literal[
    "ok", "degraded", "malformed", "unknown", "too_large", "invalid", "rate_limited",
    "not_ready", "overloaded", "deadline", "quorum", "cancelled", "error",
]  # fmt: skip


class BodyTimeout(RequestError):
    """The body did not arrive within the time a client may take."""


class HeadTooLarge(RequestError):
    """A request line with its headers, or the trailers behind a body, are above a limit."""


class NoSuchPath(RequestError):
    """The path names nothing that this server offers; the message says what it does offer."""


class ClientGone(Exception):
    """The client closed the connection before its answer: there is nobody to tell."""


TABLE: dict[type[ServerError], tuple[int, Outcome]] = {
    MalformedRequest: (400, "malformed"),
    Forbidden: (403, "malformed"),
    UnknownEnsemble: (404, "unknown"),
    UnknownVersion: (404, "unknown"),
    NoSuchPath: (404, "unknown"),
    BodyTimeout: (408, "malformed"),
    LoadError: (409, "error"),
    TooLarge: (413, "too_large"),
    UnsupportedMedia: (415, "malformed"),
    InvalidTensor: (422, "invalid"),
    RateLimited: (429, "rate_limited"),
    HeadTooLarge: (431, "too_large"),
    NotReady: (503, "not_ready"),
    Overloaded: (503, "overloaded"),
    QuorumLost: (503, "quorum"),
    DeadlineExceeded: (504, "deadline"),
}
"""Each error's status and its `outcome` in `tutti_requests_total`. A subclass has its parent's row."""

RETRY_AFTER_S = 1.0
"""Where the error does not say when to come back: a load or a member's recovery takes about that long."""


def row_of(error: ServerError) -> tuple[int, Outcome]:
    """Status and outcome; an error that nobody gave a row is a bug, so 500."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return 500, "error"


def error_reply(error: ServerError) -> Reply:
    """The answer to an error raised on purpose: its own sentence, without paths of this machine."""
    status, _ = row_of(error)
    return json_reply({"error": without_paths(as_written(str(error)))}, status, _retry_after(error, status))


def internal_error_reply(error: BaseException, request_id: str = "") -> Reply:
    """The answer to an error nobody foresaw: an id to look for in the log, and nothing of the error itself.

    Logs the traceback. The id is the client's where it is fit to print, else a fresh one.
    """
    shown = request_id if re.fullmatch(r"[\w.:-]{1,64}", request_id) else secrets.token_hex(8)
    logger.error("request %s failed unexpectedly", shown, exc_info=error)
    return json_reply({"error": f"internal error, request {shown}"}, 500)


def shown(text: str, limit: int = 80) -> str:
    """A client's text inside a message: quoted, control characters escaped, cut at `limit` characters."""
    return repr(text if len(text) <= limit else text[:limit] + "…")


_PATH = re.compile(r"(?<![\w/.:])(?:/[^\s/'\":,;()]+)*/(?:[^\s/'\":,;()]+/)([^\s/'\":,;()]+)")
_OURS = re.compile(r"/(?:v1|v2|schema|metrics)\b")


def without_paths(text: str) -> str:
    """The text with absolute file paths cut to their last part; this server's own URL paths stay."""
    return _PATH.sub(lambda found: found[0] if _OURS.match(found[0]) else found[1], text)


def from_msgspec(error: msgspec.ValidationError, root: str = "") -> MalformedRequest:
    """msgspec's ``Expected `int`, got `str` - at `$.shape[1]` `` as `shape[1]: expected a whole number, got text`."""
    message, _, path = str(error).partition(" - at `$")
    field = (root + path.rstrip("`")).lstrip(".") or "body"
    return MalformedRequest(f"{field}: {_in_words(message)}")


_WORDS = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "array": "a list",
    "object": "an object", "null": "null",
}  # fmt: skip
_GIVEN = {**_WORDS, "float": "a decimal number"}
_SENTENCES = {
    "Object missing required field ": "the field {} is missing",
    "Object contains unknown field ": "unknown field {}",
}


def _in_words(message: str) -> str:
    """msgspec's sentence without the names that Python has for what JSON holds."""
    for beginning, sentence in _SENTENCES.items():
        if message.startswith(beginning):
            return sentence.format(shown(message.removeprefix(beginning).strip("`")))
    found = re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", message)
    if found is None:
        return message[:1].lower() + message[1:].replace("`", "")
    kinds = [kind for kind in found[1].split(" | ") if kind != "null"]  # which is as if absent
    expected = " or ".join([_WORDS.get(kind, kind) for kind in kinds])
    return f"expected {expected}, got {_GIVEN.get(found[2], found[2])}"


def _retry_after(error: ServerError, status: int) -> Headers:
    if status not in (429, 503):
        return ()
    seconds = error.retry_after_s if isinstance(error, RateLimited | Overloaded) else RETRY_AFTER_S
    # The first knows whole seconds alone (RFC 9110), and a tiny ensemble has computed its queue in 30 ms.
    return (
        (b"retry-after", b"%d" % max(1, math.ceil(seconds))),
        (b"retry-after-ms", b"%d" % max(1, math.ceil(seconds * 1000))),
    )
